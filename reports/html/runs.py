"""What the page tells of each run: specification, environment, costs, health, failure, the end of its log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from spectral_bench.reports.collect import ScoredRow, SeedResult
from spectral_bench.reports.run_files import log_tail
from spectral_bench.reports.source import Source
from spectral_bench.results.record import EvaluationRecord, FitRecord

LOG_LINES = 20


class RunBook:
    """Numbers the runs of a page, and keeps what is told of each. Environments that runs share are kept once.

    Args:
        entries: the rows whose runs are told.
        source: where their folders are found.
    """

    def __init__(self, entries: Sequence[ScoredRow], source: Source) -> None:
        self._numbers: dict[str, int] = {}
        self._runs: list[dict[str, Any]] = []
        self._environments: dict[str, int] = {}
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

    def payload(self) -> str:
        """All runs as JSON that may stand inside a ``script`` element."""
        environments = [json.loads(text) for text in self._environments]
        text = json.dumps({"runs": self._runs, "environments": environments}, ensure_ascii=False, sort_keys=True)
        return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

    def _add(self, entry: ScoredRow, result: SeedResult, source: Source) -> None:
        if result.run_id not in self._numbers:
            self._numbers[result.run_id] = len(self._runs)
            self._runs.append(self._describe(entry, result, source))
        run = self._runs[self._numbers[result.run_id]]
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
            "log": log_tail(source.run_folder(result.run_id), LOG_LINES),
        }
        return run if result.fit is None else run | self._fit(result.fit)

    def _fit(self, record: FitRecord) -> dict[str, Any]:
        environment = json.dumps(record.environment, ensure_ascii=False, sort_keys=True)
        return {
            "spec": record.spec.model_dump(mode="json"),
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


def _evaluation(entry: ScoredRow, record: EvaluationRecord) -> dict[str, Any]:
    return {
        "view_id": record.view_id,
        "protocol": entry.protocol.name,
        "view": record.view.model_dump(mode="json", exclude_none=True),
        "status": record.status.replace("_", " "),
        "images": record.n_images,
        **_shared(record),
    }
