from __future__ import annotations

from pathlib import Path

import pytest

from spectral_bench.common.errors import DataError
from spectral_bench.results.published import load_published

PROTOCOL = (
    "{dataset: camvid, classes: 11, split: val, images: all, view: null, matching: iou, crf: none, k: 8, seeds: 1, "
    "selection: mean, uses_labels: false}"
)
ROW = "{method: m, protocol: p, metrics: {mIoU: 12.5}, source: s, where: Table 1}"
GOOD = f"sources: {{s: A paper}}\nprotocols:\n  p: {PROTOCOL}\nrows:\n  - {ROW}\n"


def write(folder: Path, text: str, name: str = "one.yaml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_names_are_resolved_and_rows_may_differ_from_their_protocol(tmp_path: Path):
    changed = ROW.replace("source: s", "source: s, caveats: [c], differs: {crf: dense, k: 16}")
    text = GOOD.replace(ROW, changed) + "caveats: {c: {text: beware, evidence: seen}}\n"
    write(tmp_path, "facts: [{about: it, text: is so, source: s}]\n", "two.yaml")
    (row,) = load_published(write(tmp_path, text)).rows
    assert (row.source.title, row.file, row.metrics) == ("A paper", "one", {"mIoU": 12.5})
    assert (row.protocol.crf, row.protocol.k, row.protocol.classes) == ("dense", 16, 11)
    assert [caveat.text for caveat in row.caveats] == ["beware"]
    assert load_published(tmp_path).facts[0].source.title == "A paper"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("source: s,", "source: z,", 'row 1 (m): unknown source "z"'),
        ("protocol: p,", "protocol: pp,", 'unknown protocol "pp"; did you mean "p"?'),
        ("source: s,", "source: s, caveats: [leak],", 'unknown caveat "leak"'),
        (
            "source: s,",
            "source: s, differs: {clases: 2},",
            'unknown field of a protocol "clases"; did you mean "classes"?',
        ),
        ("source: s,", "source: s, differs: {classes: 0},", "row 1 (m): classes"),
        ("mIoU: 12.5", "miou: 12.5", "rows.0.metrics.miou"),
        ("mIoU: 12.5", "mIoU: .nan", "rows.0.metrics.mIoU"),
        ("{mIoU: 12.5}", "{}", "rows.0.metrics"),
        ("classes: 11, ", "", "protocols.p.classes: Field required"),
        ("where: Table 1", "where: Table 1, colour: red", "rows.0.colour"),
        ("rows:", "rows: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, old: str, new: str, says: str):
    assert old in GOOD
    with pytest.raises(DataError) as caught:
        load_published(write(tmp_path, GOOD.replace(old, new)))
    assert str(caught.value).startswith("one.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_given_twice_is_refused(tmp_path: Path):
    write(tmp_path, GOOD)
    with pytest.raises(DataError, match=r'two.yaml: the name "s" is given twice'):
        load_published(write(tmp_path, "sources: {s: Another paper}\n", "two.yaml"))
