"""The grid that reproduces a run: its specification written out as YAML, so that planning it gives the same run id."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import yaml

from spectral_bench.common.registry import FROM_FILES
from spectral_bench.results.manifest import Manifest
from spectral_bench.results.record import FitRecord
from spectral_bench.results.specification import FitSpec, Protocol, Scoring, View

PLACES = ("a<<run>>", "a<<hash>>", "a<<seed>>")
"""What stands in a template for the run id, for its hash and for the seed: no name of anything is like these."""

_WIDTH = 64  # letters after which a line ends, so that most lines fit into a terminal
_ROW_KEYS = {"dataset", "known_as", "split", "subset", "features"}
"""Of a view, what a grid states beside a protocol and not in it; ``known_as`` and ``features`` are found anew."""


def grid_of(record: FitRecord | FitSpec, protocols: Iterable[Protocol] = (), views: Iterable[View] = ()) -> str:
    """YAML text of a grid that asks for one run, parts of the user's own by their paths as they were recorded.

    All parameters are written out, with the backbone's options, so that a later release's defaults change nothing. The
    run that the grid asks for has the same id as long as weights and files of the user's own are what they were. Of a
    fit that exists only because another starts from it, and whose method is a user's own, only that other one's grid
    gives the id.

    Args:
        record: the fit, done or not, or its specification alone.
        protocols: what it is evaluated under, resolved, as manifests keep them (``asked_protocols``).
        views: what else it was evaluated on. A view that no protocol looks at becomes one with the default scoring.
            Without any protocol or view the grid asks for none: ``protocols: []``.
    """
    spec = record.spec if isinstance(record, FitRecord) else record
    text = grid_template(spec, protocols, views)
    for place, value in zip(PLACES, (spec.run_id, spec.run_id.rsplit("-", 1)[-1], str(spec.seed)), strict=True):
        text = text.replace(place, value)
    return text


def grid_template(spec: FitSpec, protocols: Iterable[Protocol] = (), views: Iterable[View] = ()) -> str:
    """What ``grid_of`` writes for all seeds of a fit, with ``PLACES`` for the run id, its hash and the seed."""
    looks = _looks(protocols, views) or [_Look(spec.data.dataset, spec.data.split, None)]
    runs = [{**_fit_keys(spec, look.dataset), **look.keys()} for look in looks]
    weights = f"# Its id rests on these weights of the backbone: {spec.backbone.weights or 'not known'}.\n"
    grid = {"name": f"again-{PLACES[1]}", "runs": runs}
    text = yaml.dump(grid, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=_WIDTH)
    return f"# Asks for run {PLACES[0]}.\n{weights}{text}"


def asked_protocols(manifests: Iterable[Manifest], run_id: str) -> list[Protocol]:
    """The protocols under which rows of grids ask for a run, each once."""
    asked = (row.protocols for manifest in manifests for row in manifest.rows if run_id in row.runs.values())
    found: list[Protocol] = []
    for protocol in (one for protocols in asked for one in protocols):
        if protocol not in found:
            found.append(protocol)
    return found


@dataclasses.dataclass
class _Look:
    """What one row of the grid says of evaluations: those of one data set, split and number of images."""

    dataset: str
    split: str
    subset: int | None
    protocols: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def add(self, name: str, view: View, scoring: Scoring) -> None:
        """Take in a protocol. Where another one has its name already, it gets a number too."""
        written = {
            "view": view.model_dump(mode="json", exclude_defaults=True, exclude=_ROW_KEYS),
            "scoring": {"matching": scoring.matching, **scoring.model_dump(mode="json", exclude_defaults=True)},
        }
        unused, number = name, 2
        while self.protocols.get(unused, written) != written:
            unused, number = f"{name}-{number}", number + 1
        self.protocols[unused] = written

    def keys(self) -> dict[str, Any]:
        """The keys of the row."""
        subset = {} if self.subset is None else {"eval_subset": self.subset}
        protocols = [{"name": name, **written} for name, written in self.protocols.items()]
        return {"split": self.split, **subset, "protocols": protocols}


def _looks(protocols: Iterable[Protocol], views: Iterable[View]) -> list[_Look]:
    """The rows that all evaluations take: a row has one data set, split and number of images."""
    looks: dict[tuple[str, str, int | None], _Look] = {}
    seen: set[str] = set()

    def look(view: View) -> _Look:
        return looks.setdefault(key := (view.dataset, view.split, view.subset), _Look(*key))

    for protocol in protocols:
        look(protocol.view).add(protocol.name, protocol.view, protocol.scoring)
        seen |= {view.view_id for view in protocol.views}
    for view in views:
        if view.view_id not in seen and view.names is None:  # what names clusters is told by a scoring
            look(view).add(f"view-{view.view_id}", view, Scoring())
    return list(looks.values())


def _fit_keys(spec: FitSpec, evaluated: str) -> dict[str, Any]:
    """The keys of a run that make its fit; those that are at their defaults, which are part of no method, left out."""
    data = spec.data
    keys: dict[str, Any] = {
        "method": spec.method,
        "params": dict(spec.params),
        "seeds": [_Seed()],
        "dataset": evaluated,
        "train_dataset": None if data.dataset == evaluated else data.dataset,
        "train_split": data.split,
        "subset": data.subset,
        "transform": data.transform.model_dump(mode="json", exclude_defaults=True),
        "features": spec.features.model_dump(mode="json"),
        "precision": spec.precision,
        "backbone": spec.backbone.name.removeprefix(FROM_FILES),
        "backbone_options": None if spec.features.mode == "files" else dict(spec.backbone.options) or None,
    }
    return {key: value for key, value in keys.items() if value is not None}


class _Seed:
    """Stands for the seed of a run."""


class _Dumper(yaml.SafeDumper):
    """Quotes all that could be read as a number, also where YAML 1.1 would not, and never points to another place."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write what stands at two places twice."""
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    plain = value[:1].isalpha() or value.startswith("/")  # PyYAML quotes what of this is no text
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Seed, lambda dumper, seed: dumper.represent_scalar("tag:yaml.org,2002:str", PLACES[2]))
