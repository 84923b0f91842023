"""What ``check-method`` found of the code of methods of the user's own, kept in a store beside the runs.

Layout, below a store::

    checks/<code>/<settings>.json      one check: the digest of the code, then that of parameters and device

A result speaks of the very code that was checked: whoever edits a method, or a module of its own, has other code, of
which nothing is known until it is checked. Code has passed if each of its checks here has, the last one at each
setting: what failed with some parameters is not made good by others that pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.common.files import write_bytes
from spectral_bench.results.documents import document_bytes, names_in, read_document, require_file_name
from spectral_bench.results.identity import digest

CHECKS_VERSION = 1
"""Of the promises that are checked. Raised with each that is added: what older checks found then counts no more."""

CHECKS_FOLDER = "checks"

CheckState = Literal["passed", "failed", "not_checked"]


class CheckResult(BaseModel):
    """One ``check-method`` of one method of the user's own."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = CHECKS_VERSION
    method: str = Field(description="as it was named")
    code: str = Field(description="digest of the method's own modules and of which class of them it is")
    params: dict[str, Any] = Field(description="parameters of the small fits, defaults filled in")
    device: str
    finished: str = Field(description="UTC, ISO 8601")
    promises: list[str] = Field(description="what was checked")
    broken: dict[str, str] = Field(description="promise -> what was found")

    @property
    def passed(self) -> bool:
        """Whether no promise was broken."""
        return not self.broken


def write_check(store: Path, result: CheckResult) -> Path:
    """Keep a result, in place of an earlier one of the same code, parameters and device; returns its file."""
    settings = digest([result.params, result.device])
    path = store / CHECKS_FOLDER / require_file_name(result.code) / f"{settings}.json"
    write_bytes(path, document_bytes(result))
    return path


def check_state(store: Path, code: str) -> CheckState:
    """What today's promises say of the code of a method, by all checks of it that a store keeps.

    Args:
        store: the folder of the store, which need not exist.
        code: as in ``CheckResult``.

    Raises:
        StoreError: a newer release wrote a result.
    """
    folder = store / CHECKS_FOLDER / require_file_name(code)
    files = [folder / name for name in names_in(folder) if name.endswith(".json")]
    read = [read_document(path, CheckResult, CHECKS_VERSION) for path in files]
    found = [one for one in read if one is not None and (one.schema_version, one.code) == (CHECKS_VERSION, code)]
    if not found:
        return "not_checked"
    return "passed" if all(one.passed for one in found) else "failed"
