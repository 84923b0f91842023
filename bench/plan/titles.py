"""What rows are called, in plans and in the manifest that tells reports of rows, seeds and protocols."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from pydantic import TypeAdapter

from spectral_bench.bench.features.backbones import complete_options
from spectral_bench.bench.grid.keys import RunSettings
from spectral_bench.bench.grid.load import Grid, GridRow, grid_name, load_grid
from spectral_bench.bench.plan.inputs import facts_of
from spectral_bench.bench.plan.run_ids import ResolvedRow
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.registry import is_from_files, is_weights_file, short_name
from spectral_bench.methods.params import Params
from spectral_bench.results.class_lists import class_tables
from spectral_bench.results.manifest import DataFacts, Manifest, ManifestRow

LABELS_MARK = "†"
LABELS_NOTE = f"{LABELS_MARK} is fitted with labels: marked in every table and kept out of rankings"
TEXT_MARK = "‖"
TEXT_NOTE = f"{TEXT_MARK} is named by text: it is given the names of the classes, and no label"

_NOT_SETTINGS = ("name", "method", "seeds", "protocols", "params")
# Keys that tables tell in other places: what the row is called, and its columns of data, backbone and clusters.
_DATA = ("dataset", "train_dataset", "split", "train_split", "subset", "eval_subset")
_ELSEWHERE = frozenset((*_DATA, "name", "method", "backbone", "k", "backbone_options.weights", "backbone_options.seed"))
_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_SCALARS = (bool, int, float, str)


def row_titles(rows: Sequence[ResolvedRow]) -> list[str]:
    """One title a row: its name, or its method and, where that is not enough, the settings that tell it from others.

    A variation of an ablation is named after what it changes.
    """
    titles = [_stem(row) for row in rows]
    settings = [stated_settings(row) for row in rows]
    for title in sorted({title for title in titles if titles.count(title) > 1}):
        alike = [index for index, other in enumerate(titles) if other == title]
        # Only what tells these rows apart: a title with all settings would be read by nobody.
        keys = _telling_keys([settings[index] for index in alike])
        for index in alike:
            told = [f"{key}={show_value(settings[index][key])}" for key in keys if key in settings[index]]
            titles[index] = ", ".join([title, *told])
    return titles


def marked(title: str, uses_labels: bool, by_text: bool = False) -> str:
    """A title, marked where the method is fitted with labels, or given the names of classes as text."""
    return " ".join([title, *[LABELS_MARK] * uses_labels, *[TEXT_MARK] * by_text])


def _stem(row: ResolvedRow) -> str:
    grid_row, settings = row.grid_row, row.grid_row.settings
    if settings.name is not None:
        return settings.name
    method = settings.method.rsplit(":", 1)[-1]
    if grid_row.role == "baseline":
        return f"{method} (baseline)"
    if grid_row.role == "variation":
        return f"{method}, {grid_row.factor}={show_value(grid_row.value)}"
    return method


def _telling_keys(settings: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that not all have with the same value, in the order in which they are stated."""
    keys = list(dict.fromkeys(key for one in settings for key in one))
    return [key for key in keys if len({_canonical(one.get(key)) for one in settings}) > 1]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def show_value(value: Any) -> str:
    """A setting's value as a short text."""
    if is_weights_file(value):
        return PurePath(value).name
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {show_value(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(show_value(part) for part in value) + "]"
    return json.dumps(value)


def stated_settings(row: ResolvedRow) -> dict[str, Any]:
    """What the grid states for a row: parameters by name, and keys of the run."""
    return _stated(row.grid_row)


def _stated(row: GridRow) -> dict[str, Any]:
    stated = row.stated
    own = {key: value for key, value in stated.items() if key not in _NOT_SETTINGS}
    return {**(stated.get("params") or {}), **own}


def text_of_grid(reference: str, manifests: Sequence[Manifest]) -> tuple[str, str]:
    """The name of a grid, as ``grid_name``, and the text of its file; no text where it was given by its name.

    Args:
        reference: the name, or the file.
        manifests: of the store whose rows the file must be that of.

    Raises:
        ConfigError: the file is no valid grid, or its rows are not those that the store has under its name.
    """
    name = grid_name(reference)
    if name == reference:
        return name, ""
    rows = load_grid(Path(reference)).rows
    for kept in (manifest.rows for manifest in manifests if manifest.name == name):
        if len(kept) != len(rows) or not all(map(_is_row_of, rows, kept)):
            raise ConfigError(
                f"{reference}: its rows ({len(rows)}) are not those that the store has of grid {name} ({len(kept)}); "
                f"carry it out by bench run, or give the name {name} for the rows of the store"
            )
    return name, Path(reference).read_text(encoding="utf-8")


def _is_row_of(row: GridRow, kept: ManifestRow) -> bool:
    """Whether a row of a grid's file states what the store has of it."""
    same_name = row.settings.name in (None, kept.title)
    same_seeds = sorted(row.settings.seeds) == sorted(kept.runs)
    return same_name and same_seeds and _JSON.dump_python(_stated(row), mode="json") == kept.settings


def all_settings(row: ResolvedRow) -> dict[str, Any]:
    """Every parameter of the method by its name, and every key of the run, as they are in effect.

    Parameters that identities leave out at their defaults are here too. Keys that hold a mapping give one entry a part,
    such as ``features.mode``.
    """
    settings, spec = row.grid_row.settings, row.specs[0]
    options = {} if is_from_files(spec.backbone.name) else spec.backbone.options
    run = {**_run_keys(settings), "train_dataset": spec.data.dataset, **_parts("backbone_options", options)}
    return {**run, **_parameters(row.facts.params, spec.params)}


def unusual_settings(row: ResolvedRow) -> dict[str, Any]:
    """The settings that differ from their defaults, but for those that tables tell in columns of their own.

    A default that follows from K, such as that of ``beta``, is the one at the row's K.
    """
    spec, usual = row.specs[0], dict(_usual_run_keys())
    usual |= _parts("backbone_options", _usual_options(spec.backbone.name))
    usual |= _usual_parameters(row.facts.params, spec.params.get("k"))
    unusual = {
        key: value
        for key, value in all_settings(row).items()
        if key not in _ELSEWHERE and (key not in usual or usual[key] != value)
    }
    if unusual.get("text_digest"):  # which tells it; where it lies is nobody's concern
        unusual["text"] = show_value(unusual["text"])
    return unusual


def weights_words(row: ResolvedRow) -> str:
    """Where the backbone's weights are from, in words; empty where they are the usual pre-trained ones."""
    spec = row.specs[0].backbone
    weights = spec.options.get("weights")
    if weights is None or weights == _usual_options(spec.name).get("weights"):
        return ""
    if weights != "random":
        return f"of the file {Path(str(weights)).name}"
    return f"random, seed {spec.options['seed']}" if spec.options.get("seed") else "random"


def factor_values(row: ResolvedRow, factor: str) -> list[Any] | None:
    """A row's own value of each key of an ablation's factor, stated or not; None where a key is unknown.

    Args:
        row: a baseline.
        factor: a key as grids have it, or several, joined by commas.
    """
    known = all_settings(row)
    keys = [key.strip().removeprefix("params.") for key in factor.split(",")]
    return [known[key] for key in keys] if all(key in known for key in keys) else None


def _run_keys(settings: RunSettings) -> dict[str, Any]:
    dumped = settings.model_dump(mode="json", exclude={"params", "protocols", "seeds", "backbone_options"})
    features = {key: value for key, value in dumped.pop("features").items() if key != "root"}
    if features.get("order") == "hwc":  # the default of files
        del features["order"]
    return {**dumped, **_parts("features", features)}


def _parts(key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{key}.{part}": value for part, value in values.items()}


@lru_cache(maxsize=1)
def _usual_run_keys() -> Mapping[str, Any]:
    return _run_keys(RunSettings(method="any"))


@lru_cache(maxsize=256)
def _usual_options(backbone: str) -> Mapping[str, Any]:
    return complete_options(backbone, {})


@lru_cache(maxsize=256)
def _usual_parameters(model: type[Params], k: int | None) -> Mapping[str, Any]:
    # Kept, as a grid has thousands of rows of a few methods. At the row's K, since other defaults may follow from it.
    try:
        return _parameters(model, {} if k is None else {"k": k})
    except ValueError:  # a method of others may have a parameter that must be stated: its defaults stand in the fields
        fields = {name: field for name, field in model.model_fields.items() if not field.is_required()}
        return {name: _json_form(field.get_default(call_default_factory=True)) for name, field in fields.items()}


def _parameters(model: type[Params], params: Mapping[str, Any]) -> dict[str, Any]:
    complete = model.model_validate(dict(params))
    return {name: _json_form(getattr(complete, name)) for name in model.model_fields}


def _json_form(value: Any) -> Any:
    return value if value is None or isinstance(value, _SCALARS) else _JSON.dump_python(value, mode="json")


def grid_manifest(grid: Grid, rows: Sequence[ResolvedRow], titles: Sequence[str]) -> Manifest:
    """The manifest of a grid: its rows in order, each baseline directly before its variations."""
    return Manifest(
        name=grid.name,
        note=grid.note,
        # The newest manifest that tells of a data set has today's class list, and launches can follow in a second.
        written=datetime.now(UTC).isoformat(timespec="milliseconds"),
        data=_data_facts(rows),
        rows=[_manifest_row(row, title, own) for row, title, own in zip(rows, titles, _baselines(rows), strict=True)],
    )


def refuse_two_lists(rows: Sequence[ResolvedRow]) -> None:
    """Refuse a grid that looks at the same files under two descriptions whose classes differ.

    They are one data set to the store, and all that is known of one data set is scored over one class list.

    Raises:
        InvalidDocument: a grid does so; a line for each row.
    """
    problems = Problems()
    first: dict[str, str] = {}
    for row in rows:
        if not row.protocols:  # fitted only, and scored over no list
            continue
        view = row.protocols[0].view
        place = first.setdefault(view.data_name, view.dataset)
        if place != view.dataset and _class_lists(place) != _class_lists(view.dataset):
            problems.of(row.grid_row.places).add(
                "dataset" if "dataset" in row.grid_row.stated else (),
                f"{view.dataset} has the same images and labels as {place} but other classes, and a store scores a "
                "data set over one class list; give them stores and grids of their own",
            )
    problems.check()


def _class_lists(dataset: str) -> tuple[object, ...]:
    info = facts_of(dataset)
    return info.class_sets, info.default_classes


def _data_facts(rows: Sequence[ResolvedRow]) -> dict[str, DataFacts]:
    """The facts of all data sets of a grid, by the names that identities of views and fits have for them."""
    named = {spec.data.data_name: spec.data.dataset for row in rows for spec in row.specs}
    views = (protocol.view for row in rows for protocol in row.protocols)
    named |= {view.data_name: view.dataset for view in views}
    found = {name: facts_of(place) for name, place in named.items()}
    return {
        name: DataFacts(
            title=info.title, class_sets=class_tables(info.class_sets), default_classes=info.default_classes
        )
        for name, info in found.items()
    }


def _baselines(rows: Sequence[ResolvedRow]) -> list[ResolvedRow | None]:
    """For each row the baseline that it varies, which stands before it; None for other rows."""
    found: list[ResolvedRow | None] = []
    latest: ResolvedRow | None = None
    for row in rows:
        latest = row if row.grid_row.role == "baseline" else latest
        found.append(latest if row.grid_row.role == "variation" else None)
    return found


def _manifest_row(row: ResolvedRow, title: str, baseline: ResolvedRow | None) -> ManifestRow:
    settings, grid_row, first = row.grid_row.settings, row.grid_row, row.specs[0]
    return ManifestRow(
        title=title,
        method=settings.method,
        dataset=settings.dataset,
        train_dataset=settings.train_dataset or settings.dataset,
        data_name=row.protocols[0].view.known_as if row.protocols else "",
        train_data_name=first.data.known_as,
        backbone=short_name(settings.backbone),
        uses_labels=row.facts.uses_labels,
        settings=stated_settings(row),
        role=grid_row.role,
        factor=grid_row.factor,
        value=grid_row.value,
        baseline=None if baseline is None else factor_values(baseline, grid_row.factor or ""),
        k=first.params.get("k"),
        train_split=first.data.split,
        subset=first.data.subset,
        weights=weights_words(row),
        unusual=unusual_settings(row),
        runs={spec.seed: run_id for spec, run_id in zip(row.specs, row.run_ids, strict=True)},
        protocols=list(row.protocols),
    )
