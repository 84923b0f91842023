"""What the page tells of each run: scores, specification, environment, costs, health, failure, the end of its log."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.reports.run_files import log_tail
from spectral_bench.reports.settings import matching_words
from spectral_bench.reports.source import Source
from spectral_bench.results.metrics import Scores
from spectral_bench.results.record import EvaluationRecord, FitRecord
from spectral_bench.results.reproduce import PLACES, grid_template
from spectral_bench.results.specification import FitSpec, Protocol

LOG_LINES = 20
_PERCENT = ("miou", "accuracy", "mean_accuracy", "ari", "nmi")


class RunBook:
    """Numbers the runs of a page, and keeps what is told of each. What runs share is kept once: environments, and, but
    for the seed, specifications and the grids that reproduce them.

    Args:
        entries: the rows whose runs are told.
        source: where their folders are found.
    """

    def __init__(self, entries: Sequence[ScoredRow], source: Source) -> None:
        self._numbers: dict[str, int] = {}
        self._runs: list[dict[str, Any]] = []
        self._environments: dict[str, int] = {}
        self._specs: dict[str, int] = {}
        self._grids: dict[str, int] = {}
        self._fits: dict[str, tuple[FitSpec, list[Protocol]]] = {}
        for entry in entries:
            for result in entry.seeds:
                self._add(entry, result, source)

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The runs in the order of their numbers."""
        return self._runs

    def numbers(self, run_ids: Sequence[str]) -> list[int]:
        """The numbers of some runs; runs that the page does not tell are left out."""
        return [self._numbers[run_id] for run_id in run_ids if run_id in self._numbers]

    @property
    def protocols(self) -> list[str]:
        """The names of the protocols that any run has scores under, in the order of the rows."""
        return list(dict.fromkeys(scores["protocol"] for run in self._runs for scores in run["scores"]))

    def payload(self) -> str:
        """All runs as JSON that may stand inside a ``script`` element."""
        self._add_grids()
        told = {
            "runs": self._runs,
            "specs": [json.loads(text) for text in self._specs],
            "environments": [json.loads(text) for text in self._environments],
            "grids": list(self._grids),
            "places": PLACES,
            "protocols": self.protocols,
        }
        # In ASCII it takes a byte a letter in memory too, and what could end a line of a script is escaped.
        return json.dumps(told, sort_keys=True, allow_nan=False).replace("<", "\\u003c")

    def _add(self, entry: ScoredRow, result: SeedResult, source: Source) -> None:
        if result.run_id not in self._numbers:
            self._numbers[result.run_id] = len(self._runs)
            self._runs.append(self._describe(entry, result, source))
        run = self._runs[self._numbers[result.run_id]]
        if result.fit is not None:
            _, protocols = self._fits.setdefault(result.run_id, (result.fit.spec, []))
            protocols += [] if entry.protocol in protocols else [entry.protocol]
        if result.scores is not None and (scores := _scores(entry, result.scores)) not in run["scores"]:
            run["scores"].append(scores)
        run["changed"] = sorted({*run["changed"], *result.changed})
        told = {evaluation["view_id"] for evaluation in run["evaluations"]}
        if result.evaluation is not None and result.evaluation.view_id not in told:
            run["evaluations"].append(_evaluation(entry, result.evaluation))

    def _describe(self, entry: ScoredRow, result: SeedResult, source: Source) -> dict[str, Any]:
        run: dict[str, Any] = {
            "id": result.run_id,
            "title": entry.marked_title,
            "uses_labels": entry.uses_labels,
            "own_code": result.own_code,
            "seed": result.seed,
            "state": result.fit.status.replace("_", " ") if result.fit is not None else result.state.value,
            "reason": result.reason,
            "changed": list(result.changed),
            "evaluations": [],
            "scores": [],
            "log": log_tail(source.run_folder(result.run_id), LOG_LINES),
        }
        return run if result.fit is None else run | self._fit(result.fit)

    def _add_grids(self) -> None:
        """Tell of each run which grid reproduces it; the seeds of a row have one in common."""
        written: dict[tuple[str, str], str] = {}
        for run_id, (spec, protocols) in self._fits.items():
            key = (_without_seed(spec), repr(protocols))
            if key not in written:
                written[key] = grid_template(spec, protocols)
            self._runs[self._numbers[run_id]]["grid"] = self._grids.setdefault(written[key], len(self._grids))

    def _fit(self, record: FitRecord) -> dict[str, Any]:
        environment = json.dumps(record.environment, ensure_ascii=False, sort_keys=True)
        return {
            "spec": self._specs.setdefault(_without_seed(record.spec), len(self._specs)),
            "environment": self._environments.setdefault(environment, len(self._environments)),
            "execution": record.execution,
            "started": record.started,
            "finished": record.finished,
            "parameters": record.parameters,
            **_shared(record),
        }


def _shared(record: FitRecord | EvaluationRecord) -> dict[str, Any]:
    return {
        "costs": [cost.model_dump(mode="json") for cost in record.costs],
        "health": [check.model_dump(mode="json") for check in record.health],
        "failure": None if record.failure is None else record.failure.model_dump(mode="json"),
        "warnings": record.warnings,
    }


def _without_seed(spec: FitSpec) -> str:
    return spec.model_copy(update={"seed": 0}).model_dump_json()


def _scores(entry: ScoredRow, scores: Scores) -> dict[str, Any]:
    """What a run scored under one protocol, on a scale of 100; None for what is not defined."""
    values = {name: 100 * float(getattr(scores, name)) for name in _PERCENT}
    return {
        "protocol": entry.protocol.name,
        "matching": matching_words(entry.protocol),
        "clusters_in_use": scores.clusters_in_use,
        **{name: value if math.isfinite(value) else None for name, value in values.items()},
    }


def _evaluation(entry: ScoredRow, record: EvaluationRecord) -> dict[str, Any]:
    return {
        "view_id": record.view_id,
        "protocol": entry.protocol.name,
        "view": record.view.model_dump(mode="json", exclude_none=True),
        "status": record.status.replace("_", " "),
        "images": record.n_images,
        **_shared(record),
    }
