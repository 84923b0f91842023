"""Capsules: packed whole or not at all, computed again to the byte, and never written."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_samples import (
    FAILED,
    NOT_EVALUATED,
    VIEW,
    WHOLE,
    Outcome,
    add_row,
    contingency,
    make_store,
    outcomes,
    write_grid,
)

import spectral_bench as sb
from spectral_bench.common.errors import StoreError, UserError
from spectral_bench.reports.capsule import PICTURES, pack
from spectral_bench.reports.collect import collect
from spectral_bench.reports.replay import Difference, Replay, replay
from spectral_bench.results import kept_scores
from spectral_bench.results.capsule import ReportOptions, read_capsule
from spectral_bench.results.record import EvaluationRecord
from spectral_bench.results.specification import Protocol, Scoring, View
from spectral_bench.results.store import Store

TRAIN = View(dataset="synthetic", split="train")
FITTED = Protocol(name="fitted", view=VIEW, fit_view=TRAIN, scoring=Scoring())
HOST = {"host": "anna-pc", "git": {"commit": "c0ffee", "dirty": False}, "cpu": "Some CPU"}
SITTING = {"sitting": "anna-pc, process 7 of 2026-01-02T03:04:05.000+00:00", "threads": 2, "device": "cpu"}


def add_training_view(store: Store, run_id: str, wrong: int, images: int = 3) -> None:
    """An evaluation of the training split, on which a matching is fitted."""
    record = EvaluationRecord(
        run_id=run_id,
        view_id=TRAIN.view_id,
        view=TRAIN,
        status="done",
        started="2026-01-02T03:04:05+00:00",
        finished="2026-01-02T03:04:05+00:00",
        n_images=images,
        n_clusters=2,
        n_raw_labels=2,
    )
    store.write_evaluation(record, contingency(wrong, images))


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Pictures are compared by nobody, and drawing them takes most of the time."""
    if "draws" not in request.node.name:
        monkeypatch.setattr("spectral_bench.reports.capsule.rendered", lambda _, form: form.encode())


def fill(folder: Path) -> Store:
    """Two rows of five and four seeds, one under two protocols, with a curve, and files that no table needs."""
    store = make_store(folder)
    facts: dict[str, Any] = {"environment": HOST, "execution": SITTING}
    seeds = {n: Outcome(10 + n, fit_s=10.0 + n, counts=contingency(10 + n, 2), **facts) for n in range(5)}
    both = add_row(store, "k-means", seeds, protocols=[WHOLE, FITTED], role="baseline", k=2)
    for seed, run_id in both.runs.items():
        add_training_view(store, run_id, 20 + seed)
        (store.run_folder(run_id) / "fit.safetensors").write_bytes(b"weights" * 100)
        (store.run_folder(run_id) / "log.txt").write_text("on anna-pc\n")
        lines = (json.dumps({"step": step, "loss": 1.0 / (step + seed + 1)}) for step in range(3))
        (store.run_folder(run_id) / "metrics.jsonl").write_text("\n".join(lines))
    other = add_row(store, "k=4", outcomes(20, 22, 21, 25), role="variation", factor="k", value=4, k=4)
    (store.path / "features").mkdir()
    (store.path / "features" / "large.npy").write_bytes(b"0" * 1000)
    write_grid(store, add_row(store, "of another grid", outcomes(1)), name="other")
    return write_grid(store, both, other, note="A note.")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and a capsule of it, made once; tests get copies."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("spectral_bench.reports.capsule.rendered", lambda _, form: form.encode())
        pack(fill(folder), folder / "capsule", grid="example")
    return folder


@pytest.fixture
def filled(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made / "store", tmp_path / "store")
    return Store.open(tmp_path / "store")


@pytest.fixture
def capsule(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "capsule", tmp_path / "capsule"))


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Path -> time of its last change, and content."""
    paths = [folder, *folder.rglob("*")]
    contents = (path.read_bytes() if path.is_file() else b"" for path in paths)
    found = zip(paths, contents, strict=True)
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, content) for path, content in found}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in snapshot(folder).items()}


def told(found: Replay) -> dict[str, str]:
    return {one.path: one.what for one in found.differences}


def test_it_holds_what_tables_need_and_no_more(filled: Store, capsule: Path) -> None:
    names = {path.relative_to(capsule).as_posix() for path in capsule.rglob("*") if path.is_file()}
    assert not {name for name in names if name.endswith((".safetensors", ".npy", "log.txt"))}
    assert "grids/example.json" in names
    assert "grids/other.json" not in names
    head = read_capsule(capsule)
    assert names == {*head.files, "capsule.json"}
    assert (head.grids, head.runs, head.unfinished) == (["example"], 9, [])
    assert {kind: one.files for kind, one in head.left_out.items()} == {
        "what fits learnt (weights)": 5,
        "features": 1,
        "counts of single images, of splits that only matchings are fitted on": 5,
        "logs, orders and failures that were tried again": 5,
        "runs that the grids do not ask for, or without a record": 3,
        "grids that were not asked for": 1,
    }


def test_tables_are_those_of_the_store(filled: Store, capsule: Path) -> None:
    """Neither what was left out, nor sums in place of single images, nor neutral words change a number."""
    ours, theirs = (collect(source, grid="example") for source in (filled, Store.open(capsule)))
    for one, other in zip(ours, theirs, strict=True):
        assert one.row.title == other.row.title
        for mine, packed in zip(one.done, other.done, strict=True):
            assert mine.scores is not None
            assert packed.scores is not None
            assert (mine.scores.miou, mine.scores.ari) == (packed.scores.miou, packed.scores.ari)
            assert mine.cost == packed.cost
    fitted = [entry for entry in theirs if entry.protocol.name == "fitted"]
    assert len(fitted[0].done) == 5
    text = (capsule / "report/tables/main.md").read_text()
    assert "A note." in text
    assert text.startswith("Main results.")


def test_counts_that_only_a_matching_takes_are_summed(filled: Store, capsule: Path) -> None:
    run_id = filled.manifests()[0].rows[0].runs[0]
    packed, whole = (source.contingency(run_id, TRAIN.view_id) for source in (Store.open(capsule), filled))
    assert (packed.n_images, whole.n_images) == (1, 3)
    assert np.array_equal(packed.matrix(), whole.matrix())
    of_images = [source.contingency(run_id, VIEW.view_id) for source in (Store.open(capsule), filled)]
    assert of_images[0] == of_images[1]


def test_counts_that_a_budget_draws_from_stay_whole(store: Store, tmp_path: Path) -> None:
    budget = FITTED.model_copy(update={"scoring": Scoring(fit_split="train", label_budget=2)})
    row = add_row(store, "a", outcomes(3, 4), protocols=[budget])
    for run_id in row.runs.values():
        add_training_view(store, run_id, 20)
    pack(write_grid(store, row), tmp_path / "capsule")
    assert Store.open(tmp_path / "capsule").contingency(row.runs[0], TRAIN.view_id).n_images == 3
    assert replay(tmp_path / "capsule").equal


def test_it_is_computed_again_to_the_byte_wherever_it_lies(
    capsule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "elsewhere" / "moved"
    shutil.move(capsule, moved)
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = snapshot(moved)
    found = replay(Path("moved"))
    assert found.equal
    assert snapshot(moved) == before
    assert {"report/tables/main.csv", "report/numbers.tex", "report/figures/training-1.json"} <= set(found.compared)
    assert {path.rpartition(".")[2] for path in found.pictures} == set(PICTURES)


def test_it_draws_pictures_and_says_what_is_in_it(store: Store, tmp_path: Path) -> None:
    write_grid(store, add_row(store, "a", outcomes(3, 4)), add_row(store, "b", outcomes(5, 6)))
    pack(store, tmp_path / "capsule")
    assert (tmp_path / "capsule/report/figures/trade-off-1.pdf").read_bytes().startswith(b"%PDF")
    text = (tmp_path / "capsule/README.md").read_text()
    linked = set(re.findall(r"\]\(([^)]*)\)", text))
    assert linked == set(read_capsule(tmp_path / "capsule").shipped)


def test_packing_twice_gives_the_same_bytes(filled: Store, capsule: Path, tmp_path: Path) -> None:
    pack(filled, tmp_path / "again", grid="example")
    contents = [
        {name: content for name, (_, content) in snapshot(one).items()} for one in (capsule, tmp_path / "again")
    ]
    assert contents[0] == contents[1]
    (filled.path / "another-cache.bin").write_bytes(b"1")  # what is left out is no part of the digest
    third = pack(filled, tmp_path / "third", grid="example").capsule
    assert third.left_out != read_capsule(capsule).left_out
    assert third.digest == read_capsule(capsule).digest


@pytest.mark.parametrize(
    "path", ["grids/example.json", "report/tables/costs.tex", "report/figures/training-1.json", "report/numbers.tex"]
)
def test_a_changed_byte_is_named(capsule: Path, path: str) -> None:
    text = (capsule / path).read_text()
    (capsule / path).write_text(
        text.replace("k-means", "k_means", 1) if "k-means" in text else text.replace("1", "2", 1)
    )
    found = replay(capsule)
    assert path in told(found)
    assert not found.equal


def test_a_changed_record_is_named_with_the_tables_that_it_changes(capsule: Path) -> None:
    record = next(capsule.glob("records/*/fit.json"))
    record.write_text(record.read_text().replace('"wall_s": 1', '"wall_s": 7', 1))
    found = replay(capsule)
    assert told(found)[record.relative_to(capsule).as_posix()] == "changed"
    costs = next(one for one in found.differences if one.path == "report/tables/costs.csv")
    assert costs.what == "differs"
    assert costs.line in (2, 3, 4)
    assert costs.shipped != costs.replayed


def test_a_changed_line_is_shown(capsule: Path) -> None:
    path = capsule / "report/tables/main.md"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:4], lines[4] + "!", *lines[5:]]))
    assert replay(capsule).differences == (Difference("report/tables/main.md", "changed", 5, lines[4] + "!", lines[4]),)
    path.write_text("\n".join(lines[:2]))
    (found,) = replay(capsule).differences
    assert (found.line, found.shipped, found.replayed) == (3, None, lines[2])


def test_what_is_missing_or_was_added_is_named(capsule: Path) -> None:
    curve = next(capsule.glob("records/*/metrics.jsonl"))
    curve.unlink()
    (capsule / "report/tables/main.csv").unlink()
    shutil.copy(capsule / "grids/example.json", capsule / "grids/more.json")
    (capsule / ".DS_Store").write_bytes(b"")
    next(capsule.glob("report/figures/*.pdf")).write_bytes(b"")
    (capsule / "README.md").write_text("other words\n")
    found = told(replay(capsule))
    assert found[curve.relative_to(capsule).as_posix()] == "missing"
    assert found["report/tables/main.csv"] == "missing"
    assert found["grids/more.json"] == "not packed"
    assert found["README.md"] == "changed"
    assert {what for path, what in found.items() if path.endswith(".pdf")} == {"changed"}
    assert ".DS_Store" not in found


def test_a_capsule_without_its_grid_is_told_and_not_raised(capsule: Path) -> None:
    (capsule / "grids/example.json").unlink()
    found = replay(capsule)
    assert told(found) == {"grids/example.json": "missing"}
    assert "no results yet" in found.problem
    assert not found.equal


def test_readers_take_it_and_leave_nothing(capsule: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(kept_scores, "write_bytes", refuse)
    before = snapshot(capsule)
    frame = sb.load_records(capsule, protocol="whole")
    assert frame["mIoU"].notna().sum() == 9
    assert snapshot(capsule) == before


@pytest.mark.parametrize("how", [{"create": True}, {"to_write": True}])
def test_nothing_opens_it_to_write(capsule: Path, how: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="a capsule, which is read only"):
        Store.open(capsule, **how)


def test_names_of_machines_are_neutral(capsule: Path) -> None:
    texts = [path.read_text() for path in capsule.rglob("*") if path.suffix in (".json", ".md", ".tex", ".csv")]
    assert not [text for text in texts if "anna-pc" in text]
    record = Store.open(capsule).load_all()[0].fit
    assert record.environment == HOST | {"host": "host-1"}
    assert record.execution["sitting"].startswith("host-1, process 7 of ")
    assert read_capsule(capsule).neutral == {"host": 1}


def test_what_is_not_finished_needs_a_word_and_is_marked(store: Store, tmp_path: Path) -> None:
    rows = [
        add_row(store, "a", {0: Outcome(4), 1: NOT_EVALUATED, 2: Outcome(4, fit_status="not_converged")}),
        add_row(store, "b", {0: FAILED}),
    ]
    write_grid(store, *rows)
    with pytest.raises(UserError, match=r"2 runs not finished \(a, seed 1: partial; b, seed 0: failed\).*--unfinished"):
        pack(store, tmp_path / "capsule")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    pack(store, tmp_path / "capsule", preliminary=True)
    head = read_capsule(tmp_path / "capsule")
    assert head.unfinished == sorted([rows[0].runs[1], rows[1].runs[0]])
    assert (tmp_path / "capsule/report/tables/main.md").read_text().startswith("Preliminary: 2 runs not finished. ")
    assert replay(tmp_path / "capsule").equal


def test_the_fit_that_a_row_starts_from_comes_along(store: Store, tmp_path: Path) -> None:
    base = add_row(store, "psi", {0: Outcome(5, fit_s=100.0)}, method="neuralef")
    write_grid(store, add_row(store, "clustered", {0: Outcome(4, base=base.runs[0])}, method="neuralef_kmeans"))
    pack(store, tmp_path / "capsule")
    (entry,) = collect(Store.open(tmp_path / "capsule"))
    assert entry.done[0].cost.base_fit_s == 100.0


def test_options_of_the_report_are_part_of_it(filled: Store, tmp_path: Path) -> None:
    options = ReportOptions(protocol="whole", matching=["own", "hungarian"], resamples=20)
    pack(filled, tmp_path / "capsule", grid="example", options=options)
    text = (tmp_path / "capsule/report/tables/main.csv").read_text()
    assert "mIoU_images_low" in text
    assert "Hungarian on counts" in text
    assert "fitted on" not in text
    assert replay(tmp_path / "capsule").equal


def test_a_capsule_can_be_packed_again_in_its_place(capsule: Path) -> None:
    before = bytes_of(capsule)
    (capsule / "report/tables/main.md").write_text("as an earlier release had it\n")
    with pytest.raises(StoreError, match="a capsule is there already; --force"):
        pack(Store.open(capsule), capsule)
    pack(Store.open(capsule), capsule, force=True)
    assert bytes_of(capsule) == before
    assert [path.name for path in capsule.parent.iterdir()] == ["capsule"]


def test_what_a_killed_one_has_left_is_removed_once_it_is_old(filled: Store, tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in (".capsule.a.tmp", ".capsule.b.tmp", ".another.a.tmp"))
    for folder in (old, new, other):
        (folder / "report").mkdir(parents=True)
    for folder in (old, other):
        os.utime(folder, (0, 0))
    pack(filled, tmp_path / "capsule")
    assert sorted(path.name for path in tmp_path.glob(".*.tmp")) == [other.name, new.name]


def test_a_failure_leaves_what_was_there(filled: Store, capsule: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(capsule)

    def broken(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spectral_bench.reports.capsule.rendered", broken)
    with pytest.raises(StoreError, match="no space left on the disk"):
        pack(filled, capsule, grid="example", force=True)
    with pytest.raises(StoreError, match="no space left on the disk"):
        pack(filled, capsule.parent / "new", grid="example")
    assert snapshot(capsule) == before
    assert sorted(path.name for path in capsule.parent.iterdir()) == ["capsule", "store"]


def test_only_a_new_folder_or_a_capsule_is_written(filled: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_text("")
    with pytest.raises(StoreError, match="expected a folder, found a file"):
        pack(filled, tmp_path / "file")
    with pytest.raises(StoreError, match="neither empty nor a capsule"):
        pack(filled, tmp_path / "mine", force=True)
    for folder in (filled.path, filled.path / "capsule", tmp_path):
        with pytest.raises(StoreError, match="lie in each other"):
            pack(filled, folder, force=True)
    (tmp_path / "empty").mkdir()
    pack(filled, tmp_path / "empty")
    assert read_capsule(tmp_path / "empty").grids == ["example", "other"]


def test_bad_input_is_refused(filled: Store, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='unknown grid "exampel"; did you mean "example"'):
        pack(filled, tmp_path / "capsule", grid="exampel")
    with pytest.raises(UserError, match="unknown protocol"):
        pack(filled, tmp_path / "capsule", options=ReportOptions(protocol="wide"))
    assert not (tmp_path / "capsule").exists()
    for folder in (filled.path, tmp_path / "nothing"):
        with pytest.raises(StoreError, match=r"expected a capsule \(a folder with capsule.json"):
            replay(folder)


def test_a_newer_or_torn_head_is_refused(capsule: Path) -> None:
    head = json.loads((capsule / "capsule.json").read_text())
    (capsule / "capsule.json").write_text(json.dumps(head | {"schema_version": 99}))
    with pytest.raises(StoreError, match="written with schema 99"):
        replay(capsule)
    (capsule / "capsule.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read as the head of a capsule"):
        replay(capsule)
