"""How a row of a grid becomes the ids of its runs, every name and value checked on the way.

1. The row, as ``bench.grid.load`` read it, is resolved (``_resolve``): paths of a user's own are made absolute,
   defaults filled in, data set, method and backbone looked up, the backbone's weights named by their digest.
2. Of that comes one ``FitSpec`` a seed: all that can change the result of a fit, and nothing of how it is executed; and
   one ``Protocol``, with its ``View``, for each that the row names.
3. The id is ``FitSpec.run_id`` of ``results.specification``, here by ``run_ids`` for all seeds at once: the method, the
   seed, and a hash of the specification as canonical JSON, such as ``kmeans-s0-1bd8d68cbe29``.
4. Where parts are a user's own (a method's file, a folder of images), ``make_plan`` has ``bench.plan.own_names`` put
   their content in the place of their path; then step 3 is done again.

What is wrong is noted by key path; what many rows have in common is worked out once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectral_bench.bench.code.records import require_own_imports
from spectral_bench.bench.grid.keys import RunSettings
from spectral_bench.bench.grid.load import Grid, GridRow
from spectral_bench.bench.grid.protocol import Definition, check_clusters, load, named_splits, resolve
from spectral_bench.bench.plan.images import counted
from spectral_bench.bench.plan.inputs import (
    backbone_spec,
    check_classes,
    check_inputs,
    check_scores,
    check_sizes,
    checked_params,
    facts_of,
    has_images,
    stored_backbone,
    stored_view,
    training_data,
    with_classes,
)
from spectral_bench.bench.plan.text import check_names, check_text, keeping_names, with_names
from spectral_bench.bench.plan.today import Data
from spectral_bench.common.documents.document import Document
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.registry import absolute_name, absolute_path, is_path, is_weights_file
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.registry import absolute_data
from spectral_bench.methods.registry import MethodFacts, base_method, base_params, method_facts
from spectral_bench.results.specification import BackboneSpec, Features, FitSpec, Protocol, View, own_name, run_ids


@dataclass(frozen=True)
class ResolvedRow:
    """One row of a grid, ready to be planned.

    Attributes:
        grid_row: as the grid states it.
        specs: one fit a seed.
        run_ids: their identities.
        protocols: resolved for the row's data set; empty where it is fitted only.
        facts: the method's.
    """

    grid_row: GridRow
    specs: tuple[FitSpec, ...]
    run_ids: tuple[str, ...]
    protocols: tuple[Protocol, ...]
    facts: MethodFacts


def resolve_rows(
    grid: Grid, weights: Mapping[str, str], problems: Problems | None = None, today: Data | None = None
) -> list[ResolvedRow]:
    """All rows of a grid, resolved.

    Args:
        grid: the grid.
        weights: backbone -> digest, for weights that are not on this machine but known to the store.
        problems: where to note what is wrong, for a caller that goes on to find more; the sound rows are returned.
            None: raised here.
        today: the images that are there, which tell what data sets do not state; None: nobody looks at them.

    Raises:
        ConfigError: a name is unknown, a value is not valid, or two rows are the same; one line a problem.
    """
    found = Problems() if problems is None else problems
    parts = SharedParts(grid.path.parent, weights, today)
    resolved = [one for row in grid.rows if (one := _resolve(row, parts, found))]
    # Only now: whether a variation is the baseline shows when defaults are filled in.
    rows = _without_repeated_baselines(resolved)
    _refuse_duplicates(rows, found)
    if problems is None:
        found.check()
    return rows


def base_spec(spec: FitSpec) -> FitSpec | None:
    """The fit that a fit starts from (``fit_from``): the same data, backbone and seed; None where it needs none."""
    start = base_method(spec.method, spec.params)
    if start is None:
        return None
    # Of a user's own, the base stands and falls with the method that starts from it.
    known_as = f"{own_name(start)} for {spec.known_as}" if is_path(start) else ""
    params = base_params(spec.method, spec.params)
    return spec.model_copy(update={"method": start, "known_as": known_as, "params": params})


class SharedParts:
    """Parts of the rows of one grid. What is not valid is not kept: each row that has it says so at its own place.

    Args:
        folder: the folder of the grid, which paths of protocols start from.
        weights: backbone -> digest, as the store knows them.
        today: the images that are there; None: nobody looks at them.
    """

    def __init__(self, folder: Path, weights: Mapping[str, str], today: Data | None = None) -> None:
        self.folder, self.today = folder, today
        self._weights = weights
        self._protocols: dict[tuple[object, ...], tuple[Definition, Protocol]] = {}
        self._backbones: dict[tuple[str, str], BackboneSpec] = {}
        self._methods: dict[str, MethodFacts] = {}
        self._views: dict[tuple[View, Features], View] = {}

    def method(self, name: str) -> MethodFacts:
        """The facts of a method whose code imports nothing that no method may, which is seen to before it is loaded.

        Raises:
            ConfigError: as ``methods.registry.method_facts`` and ``bench.code.records.require_own_imports``.
        """
        if name not in self._methods:
            require_own_imports(name)  # reads the file; the next line executes it
            self._methods[name] = method_facts(name)
        return self._methods[name]

    def protocol(self, reference: Document, info: DataInfo, settings: RunSettings) -> tuple[Definition, Protocol]:
        """A protocol as it is defined, and resolved for the data set that a run is evaluated on.

        Args:
            reference: a name, a path or a mapping, as the grid has it.
            info: the data set ``settings.dataset``.
            settings: the run; its split and number of images are those of the protocol unless that states its own.

        Raises:
            ConfigError: as ``load`` and ``resolve`` of ``bench.grid.protocol``.
        """
        key = (repr(reference.value), info.name, settings.split, settings.eval_subset)
        if key not in self._protocols:
            definition = load(reference, self.folder)
            info = counted(info, named_splits(definition, info.name), self.today)
            protocol = resolve(definition, info, split=settings.split, subset=settings.eval_subset)
            with _of_protocol(protocol.name):
                protocol = with_names(protocol, info)
            self._protocols[key] = definition, protocol
        return self._protocols[key]

    def backbone(self, settings: RunSettings, problems: Problems) -> BackboneSpec | None:
        """As ``bench.plan.inputs.backbone_spec`` or ``stored_backbone``; runs of the same backbone share one object."""
        if stored := settings.features.mode == "files":
            split = settings.train_dataset or settings.dataset, settings.train_split
            key = (settings.backbone, repr((settings.backbone_options, settings.features, split)))
        else:
            key = (settings.backbone, repr(settings.backbone_options))
        spec = self._backbones.get(key)
        if spec is None:
            spec = stored_backbone(settings, problems) if stored else backbone_spec(settings, self._weights, problems)
        if spec is not None:
            self._backbones[key] = spec
        return spec

    def looked_at(self, protocol: Protocol, features: Features) -> Protocol:
        """A protocol whose views tell the files of features that they look at, where features lie in files.

        Raises:
            ConfigError, DataError: as ``bench.plan.inputs.stored_view``.
        """
        if features.mode != "files":
            return protocol
        keys = ("view", "fit_view", "name_view")
        views = {key: view for key in keys if (view := getattr(protocol, key)) is not None}
        for key, view in views.items():
            known = (view, features)
            if known not in self._views:
                self._views[known] = stored_view(view, features)
            views[key] = self._views[known]
        return protocol.model_copy(update=views)


def _resolve(row: GridRow, parts: SharedParts, problems: Problems) -> ResolvedRow | None:
    # Each step needs what others have made sure of; those that can be taken are, so that one go tells all faults.
    problems = problems.of(row.places)
    settings, lost = _located(row.settings, parts.folder, row.faulty, problems)
    facts, params, info, data = None, None, None, None
    if "method" not in lost:
        with problems.at("method"):
            facts = parts.method(settings.method)
    if "dataset" not in lost:
        with problems.at("dataset"):
            info = counted(facts_of(settings.dataset), [settings.split], parts.today)
    trained_on = "dataset" if settings.train_dataset is None else "train_dataset"
    if not lost & {trained_on, "train_dataset", "train_split"}:
        data = training_data(settings, problems, parts.today)
    if facts is not None and "params" not in lost:
        stated = with_classes(facts, settings.params, data)
        params = checked_params(facts, stated, problems)
    if facts and params and data and info:
        check_classes(facts, params, data, info, problems)
    backbone = None
    if settings.features.mode == "files" and "backbone" not in row.stated:
        problems.add("features", "mode files: give the features a title, by the key backbone")
    elif "backbone" not in lost and "features" not in lost and (data or settings.features.mode != "files"):
        backbone = parts.backbone(settings, problems)
    if facts and params and data and backbone:
        check_sizes(facts, params, data, backbone, problems, parts.today)
    if params and backbone and info:
        check_text(params, backbone, info, problems)
    clusters = params.get("k") if params else None
    looked_at = info if "split" not in lost else None  # else each protocol would complain of the split again
    protocols = _protocols(row.protocols, settings, parts, looked_at, clusters, problems)
    if data and backbone:
        views = [view for protocol in protocols or () for view in protocol.views]
        check_inputs(backbone, (data, *views), problems)
        for view in views:
            if view.names is not None:
                check_inputs(view.names, [view], problems)
    if params and info and protocols:
        check_scores(params, [view for protocol in protocols for view in protocol.views], problems)
        protocols = keeping_names(params, protocols)
        check_names(params, protocols, info, problems)
    if not row.sound or facts is None or params is None or data is None or backbone is None or protocols is None:
        return None
    specs = tuple(
        FitSpec(
            data=data,
            features=settings.features,
            backbone=backbone,
            method=settings.method,
            params=params,
            precision=settings.precision,
            seed=seed,
        )
        for seed in settings.seeds
    )
    return ResolvedRow(row, specs, run_ids(specs[0], settings.seeds), protocols, facts)


def _located(
    settings: RunSettings, folder: Path, faulty: frozenset[str], problems: Problems
) -> tuple[RunSettings, set[str]]:
    """The settings of a row with the paths of a user's own made absolute, and the keys that are of no use.

    These are the faulty ones, which have been noted, and those whose path leads nowhere.
    """
    found: dict[str, str] = {}
    lost: set[str] = set(faulty)
    own_code, own_data = (("method", absolute_name), ("backbone", absolute_name)), ("dataset", "train_dataset")
    for key, locate in (*own_code, *((key, absolute_data) for key in own_data)):
        named = getattr(settings, key)
        if named is None or key in faulty or (key == "backbone" and settings.features.mode == "files"):
            continue
        lost.add(key)  # until it is found: `at` notes an error and goes on behind its block
        with problems.at(key):
            found[key] = locate(named, folder)
            lost.remove(key)
    options = dict(settings.backbone_options)
    if is_weights_file(options.get("weights")) and "backbone_options" not in faulty:
        lost.add("backbone_options")
        with problems.at("backbone_options"):
            options["weights"] = str(absolute_path(options["weights"], folder, f"weights {options['weights']}"))
            lost.remove("backbone_options")
    features, root = settings.features, settings.features.root
    if root is not None:
        placed = os.path.normpath(folder.absolute() / Path(root).expanduser())
        features = features.model_copy(update={"root": placed})
    params = dict(settings.params)
    if "params" not in faulty:
        lost.add("params")
        with problems.at(("params", "text")):
            params = _with_text(params, folder)
            lost.remove("params")
    placed_too = {"backbone_options": options, "features": features, "params": params}
    return settings.model_copy(update=found | placed_too), lost


def _with_text(params: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Parameters with the path of a file of text vectors made absolute, also those of the fit that is started from."""
    own = dict(params)
    if isinstance(text := own.get("text"), str) and is_weights_file(text):
        own["text"] = str(absolute_path(text, folder, f"text {text}"))
    if isinstance(start := own.get("start_params"), Mapping):
        own["start_params"] = _with_text(start, folder)
    return own


@contextmanager
def _of_protocol(name: str) -> Iterator[None]:
    """Say of which protocol an error is."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"protocol {name}: {error}") from error


def _protocols(
    references: Sequence[Document],
    settings: RunSettings,
    parts: SharedParts,
    info: DataInfo | None,
    clusters: int | None,
    problems: Problems,
) -> tuple[Protocol, ...] | None:
    """The row's protocols on its data set (None: of no use), or None after noting problems."""
    if not references:  # fitted only: no split is looked at, and there need be no labels
        return ()
    if info is None or not _can_be_evaluated(settings, info, problems):
        for reference in references:  # one that is unknown is so on any data
            of_reference = problems.of(reference.places)
            with of_reference.at(()):
                load(reference, parts.folder)
        return None
    found: dict[str, Protocol] = {}
    for reference in references:
        of_reference = problems.of(reference.places)
        with of_reference.at(()):
            definition, protocol = parts.protocol(reference, info, settings)
            try:
                with _of_protocol(protocol.name):
                    protocol = parts.looked_at(protocol, settings.features)
            except DataError as error:  # of files that the features name, not the protocol
                problems.add(("features", "root"), str(error))
                continue
            if clusters is not None:
                check_clusters(definition, protocol, info, clusters)
            if protocol.name in found:
                of_reference.add((), f'the protocol "{protocol.name}" stands here twice')
            found[protocol.name] = protocol
    return tuple(found.values()) or None


def _can_be_evaluated(settings: RunSettings, info: DataInfo, problems: Problems) -> bool:
    """Whether a data set has the images that a run is evaluated on, with labels; else the fault is noted."""
    if settings.split in info.unlabelled:
        problems.add("split", info.without_labels(settings.split))
        return False
    return has_images(info, settings.split, settings.eval_subset, problems, ("split", "eval_subset"))


def _without_repeated_baselines(rows: list[ResolvedRow]) -> list[ResolvedRow]:
    """Drop a variation whose value is what the baseline has by default: it is the baseline."""
    kept: list[ResolvedRow] = []
    baseline: ResolvedRow | None = None
    for row in rows:
        role = row.grid_row.role
        baseline = row if role == "baseline" else baseline
        same = baseline is not None and (row.run_ids, row.protocols) == (baseline.run_ids, baseline.protocols)
        if role == "variation" and same:
            continue
        kept.append(row)
    return kept


def _refuse_duplicates(rows: list[ResolvedRow], problems: Problems) -> None:
    # The same fit under another protocol is no repetition: it is fitted once and looked at twice.
    seen: dict[tuple[str, str], ResolvedRow] = {}
    for row in rows:
        protocols = [(protocol.name, protocol.model_dump_json()) for protocol in row.protocols] or [("none", "")]
        for spec, run_id in zip(row.specs, row.run_ids, strict=True):
            for name, protocol in protocols:
                key = (run_id, protocol)
                if key in seen and seen[key] is not row:
                    other = seen[key].grid_row.place
                    seed = f"method {spec.method}, seed {spec.seed}, protocol {name}"
                    problems.add_at(row.grid_row.place, f"the same run as {other.path} on {other.where} ({seed})")
                    return  # the first: two equal rows of many seeds would fill the screen
                seen[key] = row
