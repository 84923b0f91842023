from __future__ import annotations

import json
from pathlib import Path

import pytest

from spectral_bench.bench.code import records
from spectral_bench.bench.code.fingerprint import module_hashes
from spectral_bench.bench.code.records import Step, in_todays_words, new_step, steps

BEFORE = {"m.loss": "l1", "m.psi": "p1", "f.read": "r1", "f.write": "w1", "f.other": "o1"}
AFTER = {"m.net": "n2", "f.files": "f2", "f.other": "o1", "f.help": "h2"}
JOINED = Step(
    BEFORE, AFTER, {"m.loss": ("m.net",), "m.psi": ("m.net",), "f.read": ("f.files",), "f.write": ("f.files",)}
)
LATER = Step(AFTER, {**AFTER, "m.net": "n3"}, {})
TODAY = {"m.net": "n2", "f.files": "f2", "f.help": "h2"}


def test_a_record_of_the_old_code_has_todays_fingerprint() -> None:
    recorded = {"m.loss": "l1", "m.psi": "p1", "f.read": "r1"}
    assert in_todays_words(recorded, TODAY, (JOINED,)) == TODAY
    assert in_todays_words(recorded, {**TODAY, "m.net": "n3"}, (JOINED, LATER)) == {**TODAY, "m.net": "n3"}


def test_what_was_edited_before_the_step_is_told_under_its_new_name() -> None:
    recorded = {"m.loss": "edited", "m.psi": "p1", "f.read": "r1"}
    assert in_todays_words(recorded, TODAY, (JOINED,)) == {**TODAY, "m.net": "edited"}
    assert in_todays_words(recorded, TODAY, (JOINED, LATER))["m.net"] == "edited"


def test_what_was_edited_after_the_step_differs_from_today() -> None:
    recorded = {"m.loss": "l1", "m.psi": "p1", "f.read": "r1"}
    today = {**TODAY, "f.files": "edited since"}
    translated = in_todays_words(recorded, today, (JOINED,))
    assert {name for name in today if translated.get(name) != today[name]} == {"f.files"}


def test_an_edited_module_that_nothing_depends_on_today_is_still_told() -> None:
    recorded = {"m.loss": "l1", "m.psi": "p1", "f.other": "edited"}
    assert in_todays_words(recorded, TODAY, (JOINED,)) == {**TODAY, "f.other": "edited"}


def test_another_version_of_what_went_nowhere_is_told() -> None:
    gone = Step({"m.loss": "l1", "m.label": "b1"}, {"m.loss": "l2"}, {"m.label": ()})
    today = {"m.loss": "l2"}
    assert in_todays_words({"m.loss": "l1", "m.label": "b1"}, today, (gone,)) == today
    assert in_todays_words({"m.loss": "l1", "m.label": "b0"}, today, (gone,)) == {**today, "m.label": "b0"}


def test_records_of_todays_code_of_older_code_and_files_of_ones_own_stay_as_they_are() -> None:
    assert in_todays_words(TODAY, TODAY, (JOINED,)) == TODAY
    changed = {**TODAY, "m.net": "edited", "f.other": "o1"}
    assert in_todays_words(changed, {*TODAY, "f.other"}, (JOINED,)) == changed
    fewer = {"m.net": "n2", "f.other": "o1"}  # what the step left alone tells nothing of when a record was made
    assert in_todays_words(fewer, {*TODAY, "f.other"}, (JOINED,)) == fewer
    older = {"m.loss": "l0", "gone": "g0"}
    assert in_todays_words(older, TODAY, (JOINED,)) == older
    own = {"mine.py": "x", "m.loss": "l1", "m.psi": "p1"}
    assert in_todays_words(own, TODAY, (JOINED,)) == {"mine.py": "x", **TODAY}


def write(root: Path, **modules: str) -> Path:
    for name, source in modules.items():
        path = root / "methods" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return root


def test_a_step_names_every_module_and_says_where_each_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write(tmp_path / "old", loss="x = 1\n", psi="y = 2\n", same="z = 3\n")
    new = write(tmp_path / "new", net="x = 1\ny = 2\n", same="z = 3\n")
    with pytest.raises(ValueError, match=r"no longer there, and not said to have moved: methods\.psi$"):
        new_step(old, new, {"methods.loss": ("methods.net",)})
    with pytest.raises(ValueError, match=r"said to have moved, and not there: methods\.nets$"):
        new_step(old, new, {"methods.loss": ("methods.net",), "methods.psi": ("methods.nets",)})
    file = tmp_path / "steps.json"
    file.write_text("[]")
    monkeypatch.setattr(records, "FILE", file)
    monkeypatch.setattr(records, "ROOT", new)
    records.main([str(old), "--moved", "methods.loss=methods.net", "methods.psi=methods.net"])
    (step,) = json.loads(file.read_text())
    assert step["before"] == module_hashes(old)
    assert step["after"] == module_hashes(new)
    assert set(step["before"]) == {"methods.loss", "methods.psi", "methods.same"}


def test_the_steps_that_ship_are_whole() -> None:
    for step in steps():
        assert set(step.before) - set(step.after) <= set(step.moved)
        assert {home for homes in step.moved.values() for home in homes} <= set(step.after)
