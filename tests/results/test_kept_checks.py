"""Results of check-method: kept by the code that was checked, and read with suspicion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spectral_bench.common.errors import StoreError
from spectral_bench.results.checks import CHECKS_VERSION, CheckResult, check_state, write_check

CODE = "0123456789abcdef"


def result(**changes: Any) -> CheckResult:
    fields: dict[str, Any] = {
        "method": "mine.py:Mine",
        "code": CODE,
        "params": {"k": 4},
        "device": "cpu",
        "finished": "2026-01-02T03:04:05+00:00",
        "promises": ["facts", "labels"],
        "broken": {},
    }
    return CheckResult(**fields | changes)


def test_nothing_is_known_of_code_that_was_not_checked(tmp_path: Path) -> None:
    assert check_state(tmp_path / "no store", CODE) == "not_checked"
    write_check(tmp_path, result())
    assert check_state(tmp_path, CODE) == "passed"
    assert check_state(tmp_path, "f" * 16) == "not_checked"


def test_what_failed_at_one_setting_is_not_made_good_at_another(tmp_path: Path) -> None:
    write_check(tmp_path, result(broken={"labels": "it looks at labels"}))
    for changes in ({"params": {"k": 5}}, {"device": "cuda"}):
        write_check(tmp_path, result(**changes))
        assert check_state(tmp_path, CODE) == "failed"
    write_check(tmp_path, result())
    assert check_state(tmp_path, CODE) == "passed"


def test_a_result_that_was_copied_to_other_code_speaks_of_its_own_only(tmp_path: Path) -> None:
    path = write_check(tmp_path, result())
    other = tmp_path / "checks" / ("f" * 16) / path.name
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    assert check_state(tmp_path, "f" * 16) == "not_checked"


def test_checks_of_fewer_promises_count_no_more(tmp_path: Path) -> None:
    write_check(tmp_path, result(schema_version=CHECKS_VERSION - 1))
    assert check_state(tmp_path, CODE) == "not_checked"


def test_what_a_newer_release_found_is_refused(tmp_path: Path) -> None:
    path = write_check(tmp_path, result())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": CHECKS_VERSION + 1}))
    with pytest.raises(StoreError, match="use a newer release"):
        check_state(tmp_path, CODE)


def test_torn_and_foreign_files_say_nothing(tmp_path: Path) -> None:
    path = write_check(tmp_path, result())
    path.write_bytes(path.read_bytes()[:30])
    (path.parent / ".sync").write_text("x")
    (path.parent / "notes.txt").write_text("passed")
    assert check_state(tmp_path, CODE) == "not_checked"
