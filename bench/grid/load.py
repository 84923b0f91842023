"""Reading a grid: from a YAML file to its rows, with everything that is wrong said at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.bench.grid.expansion import Role, UncheckedRow, unchecked_rows
from spectral_bench.bench.grid.keys import RUN_KEYS, ExecutorBlock, RunSettings
from spectral_bench.bench.grid.overrides import Override, parse_override, set_axes, set_in_document, set_in_rows
from spectral_bench.common.documents.document import Document, Place, Places, standing_at
from spectral_bench.common.documents.problems import Problems, describe, validate
from spectral_bench.common.documents.reading import read_document
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.registry import absolute_name

DEFAULT_PROTOCOLS = ("whole",)
LONGEST_NAME = 100  # letters of a grid's name, of which the store makes file names


class _GridKeys(BaseModel):
    """The keys of a grid file. What runs look like is checked row by row."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    note: str = ""
    protocols: list[Any] = list(DEFAULT_PROTOCOLS)
    defaults: dict[str, Any] = {}
    ablate: Any = None
    runs: Any = None
    data_root: Any = None
    executor: ExecutorBlock = ExecutorBlock()


GRID_KEYS: tuple[str, ...] = tuple(_GridKeys.model_fields)


@dataclass(frozen=True)
class GridRow:
    """One row of a grid: a configuration that is run once a seed.

    Attributes:
        settings: all keys of the run, checked, defaults filled in.
        stated: the values of the keys that the grid states for the row.
        places: where each of them stands, by key path in ``settings``; a key that is not stated stands at the row.
        protocols: what it is evaluated under: a name, a path or a mapping each; empty: it is fitted only.
        role: a plain row, the baseline of an ablation, or one change of it.
        factor: for a variation, the key (or keys, joined by commas) that differs from the baseline.
        value: for a variation, the value of the factor.
        faulty: the keys whose values are not valid, for which ``settings`` have the defaults. Such a row is checked
            further and never run.
        sound: whether nothing is wrong with the row or with the entry that it comes from.
    """

    settings: RunSettings
    stated: Mapping[str, Any]
    places: Places
    protocols: tuple[Document, ...]
    role: Role = "row"
    factor: str | None = None
    value: Any = None
    faulty: frozenset[str] = frozenset()
    sound: bool = True

    @property
    def place(self) -> Place:
        """Where the row itself stands."""
        return self.places[()]


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
    rows: tuple[GridRow, ...]
    data_roots: tuple[Path, ...]
    executor: ExecutorBlock


def load_grid(
    path: Path,
    changes: Sequence[str] = (),
    parameters: Callable[[str], Collection[str]] | None = None,
    problems: Problems | None = None,
) -> Grid:
    """Read and expand the grid in ``path``.

    Args:
        path: a YAML file.
        changes: ``key=value`` texts of ``--set``, applied in order.
        parameters: the parameter names of a method; default: those of the registry of methods.
        problems: where to note what is wrong, for a caller that goes on to find more and then raises all of it; what
            can be made of the grid is returned. None: raised here.

    Raises:
        ConfigError: the grid is not valid; one line a problem, with file, line and key path. The file is no YAML, or
            holds no mapping.
    """
    repeated: list[str] = []
    document = read_document(path, repeated)
    held, problems = problems is not None, (Problems() if problems is None else problems).of(document.places)
    for line in repeated:
        problems.add_line(line)
    if not document.items:
        found = "is empty" if document.value in (None, {}) else f"is {describe(document.value)}"
        problems.add((), f"the grid {found}; it must be a mapping with the keys runs or ablate")
        problems.check()
    # Before the rows are made, so that a change of an axis changes how many there are.
    document, for_rows = _apply(document, _overrides(changes, problems), problems)
    problems = problems.of(document.places)
    keys = validate(_GridKeys, document.value, problems, _hints())
    unchecked = unchecked_rows(document, problems)
    known = parameters or partial(_registered_parameters, path.parent)
    for override in for_rows:
        unchecked = set_in_rows(unchecked, override, known, problems)
    rows = [_check_row(one, document, problems) for one in unchecked]
    if not unchecked and not problems:
        problems.add((), "the grid has no runs; give it a list runs or a mapping ablate")
    roots = _data_roots(path, document, problems)
    name = (keys.name if keys else None) or path.stem
    if len(name) > LONGEST_NAME:
        problems.add("name", f"expected a name of at most {LONGEST_NAME} letters, got {len(name)}")
    if not held:
        problems.check()
    keys = keys or _GridKeys()  # something is wrong with them, and noted
    return Grid(path, name, keys.note, tuple(rows), roots, keys.executor)


def _overrides(changes: Sequence[str], problems: Problems) -> list[Override]:
    found = []
    for change in changes:
        try:
            found.append(parse_override(change))
        except ConfigError as error:
            problems.add_line(str(error))
    return found


def grid_name(reference: str) -> str:
    """The name of a grid in the store, given that name or the grid's file.

    Raises:
        ConfigError: it looks like a file and is none, or the file is no YAML.
    """
    if not reference.endswith((".yaml", ".yml")):
        return reference
    document = read_document(Path(reference))
    return str(document.get(("name",))) if document.states(("name",)) else Path(reference).stem


def _apply(document: Document, overrides: Sequence[Override], problems: Problems) -> tuple[Document, list[Override]]:
    """Apply overrides to the document; return those that are left for the rows."""
    for_rows = []
    for override in overrides:
        if override.key.replace("[", ".").partition(".")[0] in GRID_KEYS:
            document = set_in_document(document, override, problems)
            continue
        # Axes first: a value set in the rows alone would be varied all the same.
        document, finished = set_axes(document, override, problems)
        if not finished:
            for_rows.append(override)
    return document, for_rows


def _hints() -> dict[str, str]:
    own = [key for key in RUN_KEYS if key not in GRID_KEYS]
    return {key: f'"{key}" is a key of a run; put it under defaults or into a run' for key in own}


def _check_row(unchecked: UncheckedRow, document: Document, problems: Problems) -> GridRow:
    run, place = unchecked.values, unchecked.values.place
    settings = validate(RunSettings, run.value, problems.of(run.places))
    faulty: frozenset[str] = frozenset()
    if settings is None:  # with what is sound of it, planning finds the faults of the other keys in the same go
        settings, faulty = _sound_part(run.value)
    listed = run if run.states(("protocols",)) else document
    if listed.states(("protocols",)):
        protocols = listed.items["protocols"].elements
    else:
        protocols = tuple(standing_at(Place(place.where, "protocols"), name) for name in DEFAULT_PROTOCOLS)
    places = {(key,): place.below(key) for key in RUN_KEYS} | dict(run.places)
    return GridRow(
        settings,
        run.value,
        places,
        protocols,
        unchecked.role,
        unchecked.factor,
        unchecked.value,
        faulty,
        unchecked.sound and not faulty,
    )


def _sound_part(values: Mapping[str, Any]) -> tuple[RunSettings, frozenset[str]]:
    """The settings of a run that are valid, with defaults for all others, and the keys of these."""
    bare, unsaid = {"method": ""}, Problems({(): Place("")})  # what is wrong has been noted
    sound = {key: value for key, value in values.items() if validate(RunSettings, {**bare, key: value}, unsaid)}
    settings = validate(RunSettings, {**bare, **sound}, unsaid)
    assert settings is not None
    return settings, frozenset((values.keys() | bare.keys()) - sound.keys())


def _data_roots(path: Path, document: Document, problems: Problems) -> tuple[Path, ...]:
    if not document.states(("data_root",)):
        return ()
    stated = document.get(("data_root",))
    texts = stated if isinstance(stated, list) and stated else [stated]
    if not all(isinstance(text, str) and text for text in texts):
        problems.add("data_root", "expected a folder or a list of folders")
        return ()
    return tuple(path.parent / Path(text).expanduser() for text in texts)


def _registered_parameters(folder: Path, method: str) -> Collection[str]:
    from spectral_bench.methods.registry import params_model

    return tuple(params_model(absolute_name(method, folder)).model_fields)
