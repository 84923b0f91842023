"""Reading a grid: from a YAML file to its rows, with everything that is wrong said at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.bench.grid.executor import ExecutorBlock
from spectral_bench.bench.grid.expansion import Draft, draft_rows
from spectral_bench.bench.grid.keys import RUN_KEYS, RunSettings, Values
from spectral_bench.bench.grid.overrides import Override, parse_override, set_axes, set_in_document, set_in_rows
from spectral_bench.common.documents.document import Node, from_plain, read_document
from spectral_bench.common.documents.problems import Problems, describe, validate
from spectral_bench.common.registry import absolute_name

DEFAULT_PROTOCOLS = ("whole",)
LONGEST_NAME = 100
"""Letters of a grid's name, of which the store makes file names."""


class _GridKeys(BaseModel):
    """The keys of a grid file. What runs look like is checked row by row."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    note: str = ""
    protocols: list[Any] = Field(list(DEFAULT_PROTOCOLS), min_length=1)
    defaults: dict[str, Any] = {}
    ablate: Any = None
    runs: Any = None
    data_root: Any = None
    executor: ExecutorBlock = ExecutorBlock()


GRID_KEYS: tuple[str, ...] = tuple(_GridKeys.model_fields)


@dataclass(frozen=True)
class Row:
    """One row of a grid: a configuration that is run once a seed.

    Attributes:
        settings: all keys of the run, checked, defaults filled in.
        draft: where its values stand, and its role in an ablation.
        protocols: the protocols that it is evaluated under, as nodes: a name, a path or a mapping each.
    """

    settings: RunSettings
    draft: Draft
    protocols: tuple[Node, ...]

    @property
    def values(self) -> Values:
        """The nodes of the keys that the grid states for this row."""
        return self.draft.values


@dataclass(frozen=True)
class Grid:
    """A grid, read and expanded.

    Attributes:
        path: the file.
        name: its name in the store: the key ``name``, else the file's stem.
        note: its caption.
        rows: in the order of the file, ablations first.
        data_roots: its own data roots, relative to the file's folder.
        executor: how its runs are executed.
    """

    path: Path
    name: str
    note: str
    rows: tuple[Row, ...]
    data_roots: tuple[Path, ...]
    executor: ExecutorBlock


def load_grid(
    path: Path, changes: Sequence[str] = (), parameters: Callable[[str], Collection[str]] | None = None
) -> Grid:
    """Read and expand the grid in ``path``.

    Args:
        path: a YAML file.
        changes: ``key=value`` texts of ``--set``, applied in order.
        parameters: the parameter names of a method; default: those of the registry of methods.

    Raises:
        ConfigError: the grid is not valid; one line a problem, with file, line and key path.
    """
    root = read_document(path)
    problems = Problems()
    if not root.items:
        found = "is empty" if root.plain() in (None, {}) else f"is {describe(root.plain())}"
        problems.add(root, f"the grid {found}; it must be a mapping with the keys runs or ablate")
        problems.check()
    overrides = [parse_override(change) for change in changes]
    root, for_rows = _apply(root, overrides, problems)
    keys = validate(_GridKeys, root, problems, _hints())
    drafts = draft_rows(root, problems)
    for override in for_rows:
        drafts = set_in_rows(drafts, override, parameters or partial(_registered_parameters, path.parent), problems)
    rows = [row for draft in drafts if (row := _check_row(draft, root, problems))]
    if not drafts and not problems:
        problems.add(root, "the grid has no runs; give it a list runs or a mapping ablate")
    roots = _data_roots(path, root.child("data_root"), problems)
    name = (keys.name if keys else None) or path.stem
    if len(name) > LONGEST_NAME:
        problems.add(root.child("name") or root, f"expected a name of at most {LONGEST_NAME} letters, got {len(name)}")
    problems.check()
    assert keys is not None
    return Grid(path, name, keys.note, tuple(rows), roots, keys.executor)


def grid_name(reference: str) -> str:
    """The name of a grid in the store, given that name or the grid's file.

    Raises:
        ConfigError: it looks like a file and is none, or the file is no YAML.
    """
    if not reference.endswith((".yaml", ".yml")):
        return reference
    name = read_document(Path(reference)).child("name")
    return str(name.value) if name is not None else Path(reference).stem


def _apply(root: Node, overrides: Sequence[Override], problems: Problems) -> tuple[Node, list[Override]]:
    """Apply overrides to the document; return those that are left for the rows."""
    for_rows = []
    for override in overrides:
        if override.key.replace("[", ".").partition(".")[0] in GRID_KEYS:
            root = set_in_document(root, override, problems)
            continue
        root, finished = set_axes(root, override)
        if not finished:
            for_rows.append(override)
    return root, for_rows


def _hints() -> dict[str, str]:
    own = [key for key in RUN_KEYS if key not in GRID_KEYS]
    return {key: f'"{key}" is a key of a run; put it under defaults or into a run' for key in own}


def _check_row(draft: Draft, root: Node, problems: Problems) -> Row | None:
    node = Node(draft.values, draft.origin.where, draft.origin.path)
    settings = validate(RunSettings, node, problems)
    if settings is None:
        return None
    listed = draft.values.get("protocols") or root.child("protocols")
    protocols = listed.elements if listed else ()
    if not protocols:
        protocols = tuple(from_plain(name, f"{draft.origin.where}", "protocols") for name in DEFAULT_PROTOCOLS)
    return Row(settings, draft, protocols)


def _data_roots(path: Path, node: Node | None, problems: Problems) -> tuple[Path, ...]:
    if node is None:
        return ()
    texts = [child.value for child in node.elements or (node,)]
    if not all(isinstance(text, str) and text for text in texts):
        problems.add(node, "expected a folder or a list of folders")
        return ()
    return tuple(path.parent / Path(str(text)).expanduser() for text in texts)


def _registered_parameters(folder: Path, method: str) -> Collection[str]:
    from spectral_bench.methods.registry import params_model

    return tuple(params_model(absolute_name(method, folder)).model_fields)
