"""Make the panels of a report's gallery from stored fits: the predictions of a few images, as they were counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spectral_bench.bench.evaluation import pamr
from spectral_bench.bench.evaluation.counting import ScoredImage, assign, labels_at_prediction, view_image, view_label
from spectral_bench.bench.evaluation.crf import refine
from spectral_bench.bench.evaluation.guided import largest_of
from spectral_bench.bench.features import ViewItem
from spectral_bench.bench.features.pipeline import middle_window
from spectral_bench.bench.features.views import fresh_features, kept_features
from spectral_bench.bench.measure.environment import require_crf
from spectral_bench.bench.run.context import resolve_device
from spectral_bench.bench.run.evaluate import scored_images
from spectral_bench.bench.run.fit import load_fit
from spectral_bench.common.errors import StoreError
from spectral_bench.datasets.registry import open_data
from spectral_bench.datasets.transforms import apply_crop
from spectral_bench.methods.interface import Spectral
from spectral_bench.methods.registry import colours_asked
from spectral_bench.results.contingency import ContingencyBuilder
from spectral_bench.results.panels import FUNCTIONS, Panel, scaled, write_panel

if TYPE_CHECKING:
    from spectral_bench.common.geometry import Crop
    from spectral_bench.datasets.interface import DataRoots, ImageLoader
    from spectral_bench.methods.interface import PatchBatch, Segmenter
    from spectral_bench.reports.gallery.panels import WantedPanel
    from spectral_bench.results.record import EvaluationRecord, FitRecord
    from spectral_bench.results.specification import View
    from spectral_bench.results.store import Store


LONG_SIDE = 512  # pixels of the pictures that panels keep; labels and clusters keep their own size
TOLERANCE = 0.01  # share of an image's pixels that may lie in other cells than when it was scored

Progress = Callable[[int, int], None]


def make_panels(
    store: Store,
    wanted: Sequence[WantedPanel],
    roots: DataRoots,
    *,
    device: str = "auto",
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """Predict the wanted images anew from the stored fits, and store the panels with their runs.

    Features come from the cache that was evaluated, so that neither backbone nor timm is loaded; where it is gone they
    are computed here, rounded where the cache was. A panel is stored only if its counts are those
    that were scored, up to a hundredth of its pixels: another device may break ties otherwise.

    Args:
        store: holds fits and evaluations.
        wanted: what to make.
        roots: where data sets lie.
        device: auto, cpu, cuda or cuda:N.
        progress: called with (panels done or given up, panels in all).

    Returns:
        A line for each reason why panels could not be made, with its runs; the others are made.

    Raises:
        ConfigError: the device is unknown or not there.
    """
    maker = _Maker(store, roots, resolve_device(device))
    problems: dict[str, list[str]] = {}
    done = 0
    for (run_id, view), image_ids in _by_run(wanted).items():
        try:
            maker.make(run_id, view, image_ids)
        except Exception as error:  # whatever a data set, a backbone or a method raises: the other panels are made
            reason = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
            problems.setdefault(reason, []).append(run_id)
        done += len(image_ids)
        progress(done, len(wanted))
    return [f"No panels of {', '.join(runs)}: {reason}" for reason, runs in problems.items()]


class _Maker:
    """Keeps the features it made last: the fits of a gallery share images and, mostly, backbones."""

    def __init__(self, store: Store, roots: DataRoots, device: torch.device) -> None:
        self._store = store
        self._roots = roots
        self._device = device
        self._last: tuple[object, list[ViewItem]] | None = None

    def make(self, run_id: str, view: View, image_ids: tuple[str, ...]) -> None:
        fit, record = self._records(run_id, view)
        method, items = load_fit(self._store, run_id, self._device), self._items(fit, view, image_ids)
        scored = scored_images(
            method,
            view,
            items,
            device=self._device,
            labels=labels_at_prediction(fit.spec, open_data(view.dataset, self._roots), view.split),
        )
        for item, image in zip(items, scored, strict=True):
            panel = self._panel(record, method, item, image)
            self._check(record, image.image_id, panel)
            folder = self._store.run_folder(run_id)
            write_panel(folder, record.view_id, image.image_id, record.contingency_sha256, panel)

    def _records(self, run_id: str, view: View) -> tuple[FitRecord, EvaluationRecord]:
        fit, record = self._store.fit_record(run_id), self._store.evaluation_record(run_id, view.view_id)
        if fit is None or record is None or record.status == "failed":
            raise StoreError(f"run {run_id}: no finished evaluation of view {view.view_id} in {self._store.path}")
        require_crf([view])
        return fit, record

    def _items(self, fit: FitRecord, view: View, image_ids: tuple[str, ...]) -> list[ViewItem]:
        spec = fit.spec
        rounded = spec.features.mode == "cache" and spec.features.dtype == "float16"
        colours = colours_asked(spec.method, spec.params)
        key = (spec.backbone.model_dump_json(), view.view_id, rounded, colours, image_ids)
        if self._last is None or self._last[0] != key:
            images, folder = open_data(view.dataset, self._roots).images(view.split), self._store.features_folder
            kept = kept_features(view, spec.backbone, spec.features, images=images, folder=folder, colours=colours)
            if kept is not None:
                items = [kept.at(kept.image_ids.index(image_id)) for image_id in image_ids]
            else:
                features = fresh_features(
                    view,
                    spec.backbone,
                    images=images,
                    ids=image_ids,
                    folder=folder,
                    device=self._device,
                    workers=0,
                    colours=colours,
                    stored=spec.features if spec.features.mode == "files" else None,
                )
                items = [replace(item, patches=_rounded(item.patches)) if rounded else item for item in features]
            self._last = (key, items)
        return self._last[1]

    def _panel(self, record: EvaluationRecord, method: Segmenter, item: ViewItem, scored: ScoredImage) -> Panel:
        data = open_data(record.view.dataset, self._roots)
        images = data.images(record.view.split)
        image = images.image(item.image_id)
        truth = view_label(data.labels(record.view.split), item.image_id, item.original, scored.layout)
        middle = middle_window(item.patches)  # of several windows the one in the middle
        functions = _eigenfunctions(method, item.patches.part(slice(middle, middle + 1)).to(self._device))
        window = item.patches.crops[middle]
        return Panel(
            image=_shrunk(image, scored.layout.frame),
            truth=truth.astype(np.int64),
            clusters=_clusters(scored, record.view, images),
            window=_shrunk(image, window),
            functions=functions,
            cover=(item.cover[0] / window.height, item.cover[1] / window.width),
        )

    def _check(self, record: EvaluationRecord, image_id: str, panel: Panel) -> None:
        """Refuse a panel that does not show what was scored.

        Raises:
            StoreError: more than a hundredth of the pixels are counted elsewhere.
        """
        stored = self._store.contingency(record.run_id, record.view_id)
        builder = ContingencyBuilder(stored.n_clusters, stored.n_labels)
        builder.add(image_id, panel.clusters, panel.truth)
        scored = stored.matrix([stored.image_ids.index(image_id)])
        # A pixel that moves is missing in one cell and too many in another.
        moved = int(np.abs(builder.build().matrix() - scored).sum()) / 2
        if moved > TOLERANCE * panel.truth.size:
            share = 100 * moved / panel.truth.size
            raise StoreError(f"image {image_id}: {share:.1f} % of the pixels are predicted otherwise than when scored")


def _by_run(wanted: Sequence[WantedPanel]) -> dict[tuple[str, View], tuple[str, ...]]:
    runs: dict[tuple[str, View], tuple[str, ...]] = {}
    for panel in wanted:
        key = (panel.run_id, panel.view)
        runs[key] = (*runs.get(key, ()), panel.image_id)
    return runs


def _clusters(scored: ScoredImage, view: View, images: ImageLoader) -> NDArray[np.int64]:
    """(H, W) clusters of the label's pixels, as the view says that scores become clusters."""
    if view.crf is None and view.refine is None and view.upsample is None:
        clusters: NDArray[np.int64] = assign(scored).cpu().numpy()
        return clusters
    image = view_image(images, scored.image_id, scored.layout)
    if view.crf is not None:
        return refine(scored.scores.cpu(), scored.layout, image, view.crf, view.upsample)
    if view.refine is not None:
        return pamr.refine(scored.scores, scored.layout, image, view.refine, view.upsample).cpu().numpy()
    assert view.upsample is not None
    return largest_of(scored.scores, scored.layout, image, view.upsample).cpu().numpy()


def _eigenfunctions(method: Segmenter, batch: PatchBatch) -> NDArray[np.float32]:
    """(n, h, w) the method's first functions on one window; n = 0 for a method without any."""
    if not isinstance(method, Spectral):
        return np.zeros((0, 1, 1), dtype=np.float32)
    with torch.inference_mode():
        functions = method.eigenfunctions(batch)[0, :FUNCTIONS]
    return scaled(functions.float().cpu().numpy())


def _rounded(batch: PatchBatch) -> PatchBatch:
    """The batch as a cache of half precision gives it back."""
    levels = tuple(level.half().float() for level in batch.features)
    return replace(batch, features=levels, pixels=batch.pixels.half().float())


def _shrunk(image: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8]:
    """What a crop shows of an image, with a longer side of at most ``LONG_SIDE`` pixels."""
    shown = apply_crop(image, crop)
    factor = LONG_SIDE / max(shown.shape[:2])
    if factor >= 1:
        return shown
    size = (max(1, round(shown.shape[1] * factor)), max(1, round(shown.shape[0] * factor)))
    return np.asarray(Image.fromarray(shown).resize(size, Image.Resampling.BOX))
