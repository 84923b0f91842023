"""Rows share what is the same in them, and nothing else."""

from __future__ import annotations

import pytest
from plan_lab import Lab

from spectral_bench.bench.grid.keys import RunSettings
from spectral_bench.bench.plan import run_ids as planned
from spectral_bench.bench.plan.inputs import facts_of
from spectral_bench.bench.plan.run_ids import SharedParts
from spectral_bench.common.documents.document import Place, standing_at
from spectral_bench.common.documents.problems import InvalidDocument, Problems
from spectral_bench.common.errors import ConfigError

ROWS = """\
name: g
protocols: [{protocols}]
runs:
  - {{method: kmeans, matrix: {{{axis}}}}}
"""


def test_rows_share_one_protocol_and_one_backbone(lab: Lab) -> None:
    written = "whole, ./mine.yaml, {name: small, extends: whole, view: {subset: 2}}"
    (lab.folder / "mine.yaml").write_text("name: mine\nextends: whole\nview: {centre_crop: 64}\n")
    rows = lab.rows(ROWS.format(protocols=written, axis="k: [4, 5, 6]"))
    assert [protocol.name for protocol in rows[0].protocols] == ["whole", "mine", "small"]
    assert [protocol.view.subset for protocol in rows[0].protocols] == [None, None, 2]
    for index in range(3):
        assert len({id(row.protocols[index]) for row in rows}) == 1
    assert len({id(row.specs[0].backbone) for row in rows}) == 1


def test_protocols_that_a_row_writes_out_itself_are_its_own(lab: Lab) -> None:
    first, second = lab.rows(
        "runs:\n"
        "  - {method: kmeans, params: {k: 4}, protocols: [{name: a, extends: whole, view: {subset: 2}}]}\n"
        "  - {method: kmeans, params: {k: 5}, protocols: [{name: a, extends: whole, view: {subset: 3}}]}\n"
    )
    assert (first.protocols[0].view.subset, second.protocols[0].view.subset) == (2, 3)


@pytest.mark.parametrize(
    ("axis", "views"),
    [
        ("split: [train, val]", [("synthetic", "train", None), ("synthetic", "val", None)]),
        ("eval_subset: [2, 3]", [("synthetic", "val", 2), ("synthetic", "val", 3)]),
        ("dataset: [synthetic, camvid]", [("synthetic", "val", None), ("camvid", "val", None)]),
    ],
)
def test_a_protocol_is_resolved_for_each_thing_looked_at(
    lab: Lab, axis: str, views: list[tuple[str, str, int | None]]
) -> None:
    rows = lab.rows(ROWS.format(protocols="whole", axis=axis))
    found = [row.protocols[0].view for row in rows]
    assert [(view.dataset, view.split, view.subset) for view in found] == views


def test_backbones_of_other_options_are_others(lab: Lab) -> None:
    axis = "backbone_options: [{weights: random, seed: 0}, {weights: random, seed: 1}]"
    first, second = lab.rows(ROWS.format(protocols="whole", axis=axis))
    assert (first.specs[0].backbone.weights, second.specs[0].backbone.weights) == ("random-0", "random-1")


def test_what_is_not_valid_is_said_again_for_every_row(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(planned, "load", lambda reference, folder: asked.append("load") or _refuse())
    parts = SharedParts(lab.folder, {})
    for path in ("runs[0].backbone", "runs[1].backbone"):
        problems = Problems({("backbone",): Place("f:1", path)})
        assert parts.backbone(RunSettings(method="kmeans", backbone="efficientnet"), problems) is None
        assert [line.split(": ")[1] for line in problems] == [path]
        with pytest.raises(ConfigError, match="no protocol"):
            parts.protocol(standing_at(Place("f:1"), "whole"), facts_of("synthetic"), RunSettings(method="kmeans"))
    assert asked == ["load", "load"]


def _refuse() -> None:
    raise ConfigError("no protocol")


def test_a_number_of_clusters_is_checked_for_every_row_that_shares_a_protocol(lab: Lab) -> None:
    with pytest.raises(InvalidDocument) as caught:
        lab.rows(ROWS.format(protocols="hungarian", axis="k: [4, 500, 600]"))
    assert {k for k in (500, 600) if f"k is {k}" in str(caught.value)} == {500, 600}
