"""The numerical health of a fit, and that of its eigenfunctions on images that it has not seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from numpy.linalg import LinAlgError

from spectral_bench.bench.features.pipeline import central, concatenate, middle_window
from spectral_bench.datasets.subset import in_drawing_order, subset
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.exact import MOST_EXACT_NODES, ExactSpaces
from spectral_bench.methods.health import HEALTH_STAGE
from spectral_bench.methods.interface import Spectral, offers
from spectral_bench.methods.spectral_health import method_checks
from spectral_bench.results.identity import digest
from spectral_bench.results.record import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from spectral_bench.bench.features import ViewFeatures
    from spectral_bench.bench.measure.meter import Meter
    from spectral_bench.bench.run.cohort import View as CohortView
    from spectral_bench.bench.run.context import Run
    from spectral_bench.methods.interface import PatchBatch, Segmenter
    from spectral_bench.results.record import Status
    from spectral_bench.results.specification import View


LEAST_CLUSTERS = 2
WANTED_PATCHES = 2048  # of the held-out graph: its exact decomposition takes a few seconds
MOST_READ = 16  # images that are read to find some of one grid


def health_records(method: Segmenter) -> list[HealthCheck]:
    """The checks that a fitted method made of itself (its attribute ``checks``), none where it makes none."""
    return as_records(getattr(method, "checks", ()))


def as_records(checks: Sequence[Any]) -> list[HealthCheck]:
    """Checks of ``methods.health`` as a record keeps them."""
    return [
        HealthCheck(
            name=check.name,
            value=check.value if check.value is not None and math.isfinite(check.value) else None,
            limit=check.limit,
            passed=bool(check.passed),
            note=check.note,
        )
        for check in checks
    ]


def clusters_in_use(n_used: int) -> HealthCheck:
    """Whether an evaluation found more than one cluster: a network that collapsed puts every pixel into one."""
    passed = n_used >= LEAST_CLUSTERS
    return HealthCheck(name="clusters_in_use", value=n_used, limit=LEAST_CLUSTERS, passed=passed)


def status_of(health: Sequence[HealthCheck]) -> Status:
    """``not_converged`` as soon as one check failed, else ``done``."""
    return "done" if all(check.passed for check in health) else "not_converged"


class Foreseen:
    """The images that eigenfunctions will be checked on, and the functions there, which their prediction gives.

    Attributes:
        fresh: the images of a view that the fit was not trained on.
        wanted: those whose functions are kept.
    """

    def __init__(self, fresh: tuple[str, ...], wanted: Sequence[str]) -> None:
        self.fresh = fresh
        self.wanted = frozenset(wanted)
        self._found: dict[str, Tensor] = {}

    def predict(self, method: Segmenter, batch: PatchBatch) -> Tensor | None:
        """The scores of the windows of a wanted image, with the functions of the middle one kept; None of others."""
        (image_id,) = set(batch.image_ids)
        if image_id not in self.wanted or math.prod(batch.grid) > MOST_EXACT_NODES:
            return None
        both: tuple[Tensor, Tensor] = method.predict_with_functions(batch)  # type: ignore[attr-defined]
        scores, functions = both
        middle = middle_window(batch)
        self._found[image_id] = functions[middle : middle + 1].clone()
        return scores

    def of(self, graph: PatchBatch) -> Tensor | None:
        """(B, n, h, w) functions on the images of a graph; None unless those of all of them are known."""
        found = [self._found.get(image_id) for image_id in graph.image_ids]
        known = [one for one in found if one is not None and one.shape[-2:] == graph.grid]
        return torch.cat(known) if len(known) == len(graph) else None


def foresee(
    run: Run, view: View, method: Segmenter, features: ViewFeatures | CohortView, meter: Meter
) -> Foreseen | None:
    """What ``spectral_health`` is going to look at, so that nothing of it is predicted twice.

    None where the method has no eigenfunctions.
    """
    if not isinstance(method, Spectral):
        return None
    with meter.stage(HEALTH_STAGE):
        fresh = _unseen(run, view, features.image_ids)
    at_once = offers(method, "predict_with_functions", ("predict", "eigenfunctions"))
    at_once = at_once and not getattr(type(method), "labels_at_prediction", False)  # whose scores need labels
    return Foreseen(fresh, in_drawing_order(fresh or features.image_ids)[:MOST_READ] if at_once else ())


def spectral_health(
    run: Run,
    view: View,
    method: Segmenter,
    features: ViewFeatures | CohortView,
    meter: Meter,
    foreseen: Foreseen | None,
) -> list[HealthCheck]:
    """Check the eigenfunctions of a fitted method on held-out images; nothing where the method has none.

    Costs are charged to a stage of its own. A check that cannot be computed, because functions or kernel are not
    finite, has failed.

    Args:
        run: at work.
        view: what is looked at.
        method: a fitted method.
        features: of the view.
        meter: that is charged.
        foreseen: what ``foresee`` gave before the view was predicted.
    """
    if foreseen is None or not isinstance(method, Spectral):
        return []
    with meter.stage(HEALTH_STAGE):
        per_image = bool(getattr(method, "per_image", False))
        graphs = _graphs(run, view, features, foreseen.fresh or features.image_ids, per_image=per_image)
        # One graph of all runs with its settings is kept; a file for each image of each setting would be many.
        code = digest(run.code[0])
        spaces = ExactSpaces(None if per_image else run.store.eigenspaces_folder, code)
        limits = getattr(method, "health_limits", {})
        try:
            with torch.inference_mode():
                placed = [graph.to(run.device) for graph in graphs]
                known = [foreseen.of(graph) for graph in placed]
                checks = method_checks(method, placed, limits=limits, spaces=spaces, functions=known)
        except (NumericalError, LinAlgError) as error:
            return [HealthCheck(name="spectral_health", value=None, passed=False, note=str(error))]
    records = as_records(checks)
    if not foreseen.fresh:
        records[0].note = "of images that the fit was trained on: this view has no others"
    return records


def _graphs(
    run: Run, view: View, features: ViewFeatures | CohortView, ids: tuple[str, ...], *, per_image: bool
) -> list[PatchBatch]:
    """The images that functions are checked on, as batches that are a graph each; a cohort reads them once."""

    def read() -> list[PatchBatch]:
        images = held_out_images(features, ids)
        graphs = images if per_image else [concatenate(images)]
        return graphs if run.cohort is None else [run.cohort.alike(graph) for graph in graphs]

    if run.cohort is None:
        return read()
    return run.cohort.shared(("held out", view.view_id, *run.seen_as, ids, per_image), read)


def held_out_images(features: ViewFeatures | CohortView, ids: tuple[str, ...]) -> list[PatchBatch]:
    """Images of one grid that make a graph of about ``WANTED_PATCHES`` patches, chosen by a fixed rule.

    Images are taken in the order of the hashes of their names, of windows the middle one. Those of another grid than
    the first are passed over; where the first alone is too large to be decomposed, its central part is taken.

    Args:
        features: of a view.
        ids: those of its images that may be taken, one or more.
    """
    chosen: list[PatchBatch] = []
    place = {image_id: index for index, image_id in enumerate(features.image_ids)}
    for image_id in in_drawing_order(ids)[:MOST_READ]:
        item = features.at(place[image_id])
        middle = middle_window(item.patches)
        image = central(item.patches.part(slice(middle, middle + 1)), item.cover, MOST_EXACT_NODES)
        nodes = math.prod(image.grid)
        if chosen and (len(chosen) + 1) * nodes > WANTED_PATCHES:
            break
        if not chosen or image.grid == chosen[0].grid:
            chosen.append(image)
    return chosen


def _unseen(run: Run, view: View, ids: tuple[str, ...]) -> tuple[str, ...]:
    """The images of a view that are not among those of the fit."""
    data = run.spec.data
    if (view.dataset, view.split) != (data.dataset, data.split):
        return ids
    seen = set(subset(run.open_data(data.dataset).images(data.split).ids, data.subset))
    return tuple(image_id for image_id in ids if image_id not in seen)
