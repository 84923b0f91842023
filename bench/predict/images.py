"""Segment any images by a stored fit, in masks of clusters or of classes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectral_bench.bench.evaluation.counting import ScoredImage, assign
from spectral_bench.bench.evaluation.layout import score_bands
from spectral_bench.bench.features.pipeline import ordered_map
from spectral_bench.bench.features.views import ViewItem, fresh_features
from spectral_bench.bench.measure.environment import reproducible
from spectral_bench.bench.predict.files import FileImages, nearest_folder, require_targets, scores_file, targets_of
from spectral_bench.bench.predict.looks import looks
from spectral_bench.bench.predict.names import Naming, mean_features, named_key
from spectral_bench.bench.predict.pictures import (
    Drawn,
    Key,
    cluster_key,
    draw,
    on_sheet,
    palette,
    write_legend,
    write_sheet,
)
from spectral_bench.bench.run.context import resolve_device
from spectral_bench.bench.run.evaluate import scored_images
from spectral_bench.bench.run.fit import load_fit
from spectral_bench.common.errors import ConfigError, StoreError
from spectral_bench.common.files import atomic_writer
from spectral_bench.common.names import how_many, unknown
from spectral_bench.common.registry import short_name
from spectral_bench.datasets.reading import image_header
from spectral_bench.reports.scoring import Reader, run_scores, todays_lists
from spectral_bench.results.matching import TEXT
from spectral_bench.results.specification import FitSpec, Protocol, View
from spectral_bench.results.store import Store

_THREADS = 2  # that draw: PNG and JPEG are encoded without the interpreter's lock


@dataclass(frozen=True)
class Wanted:
    """What is written besides masks and their legend.

    Attributes:
        overlays: colours over each image.
        contours: white lines between the values of a mask, on overlays.
        scores: the scores of every pixel.
        sheet: a contact sheet.
    """

    overlays: bool = True
    contours: bool = False
    scores: bool = False
    sheet: bool = False


def predict(
    store: Store,
    run_id: str,
    images: Sequence[Path],
    out: Path,
    *,
    wanted: Wanted = Wanted(),
    key: Key | None = None,
    naming: Naming | None = None,
    named: Callable[[Key], None] = lambda key: None,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Write the mask of each image, upright and in the size that people see, and what else is wanted.

    Images are looked at as the run's first evaluation looked at its own (resizing, windows, the rounding of features);
    a run without evaluations looks as it did in training.

    Args:
        store: the store of the run.
        run_id: a finished run.
        images: image files of different stems.
        out: folder for ``<stem>.png`` (palette PNG of clusters; 16-bit grey above 256), ``<stem>_overlay.jpg``,
            ``<stem>_scores.npy`` ((H, W, K) float32, the largest being the cluster) and ``legend.csv``.
        wanted: what to write.
        key: what masks hold; None: clusters.
        naming: what names clusters, by their features in these images; masks hold classes then. The scores of all
            patches are held until every image was looked at.
        named: told what masks hold, once clusters have names.
        device: auto, cpu, cuda or cuda:N.
        progress: called with (images done, images in all).

    Returns:
        The files written.

    Raises:
        StoreError: there is no such finished run, its state is torn, or the disk has no room for scores.
        ConfigError: ``out`` is a folder of the images, or a file to be written is one, or features lie in files.
        DataError: two images have one stem, or one cannot be read. All headers are looked at before anything is
            written; what is wrong deeper in a file is found in its turn.
    """
    if (run := store.load_run(run_id)) is None:
        raise StoreError(f"run {run_id}: no finished fit in {store.path}")
    spec, chosen = _with_network(run.fit.spec), resolve_device(device)
    trained = View(dataset="", split="", resize=spec.data.transform.resize)
    # Windows and resizing as the scores were made with; a subset, a crop or a CRF was the protocol's own.
    view = _of_whole_images(next((record.view for record in run.evaluations.values()), trained))
    files = FileImages(images)
    require_targets(images, out, overlays=wanted.overlays, scores=wanted.scores)
    seen: Any = {"images": files, "ids": files.ids, "folder": store.features_folder, "device": chosen, "workers": 2}
    with reproducible():
        method = load_fit(store, run_id, chosen)
        if wanted.scores:
            _require_room(out, [image_header(path) for path in images], method.n_clusters)
        scored, said = scored_images(method, view, looks(spec, view, files, chosen), device=chosen), list[Path]()
        if naming is not None:
            scored, key = _called(naming, scored, fresh_features(view, naming.network, **seen), method.n_clusters)
            named(key)
        assigned, key = _assigned(scored, out if wanted.scores else None, said), key or cluster_key(method.n_clusters)
        return write_masks(assigned, files, out, key, wanted, progress=progress) + said


def _called(
    naming: Naming, scored: Iterable[ScoredImage], features: Iterable[ViewItem], clusters: int
) -> tuple[Iterator[ScoredImage], Key]:
    """All images, whose scores are held for it, and what their clusters are called."""
    held = [replace(image, scores=image.scores.cpu()) for image in scored]
    return iter(held), named_key(naming, mean_features(held, features, clusters))


def _with_network(spec: FitSpec) -> FitSpec:
    """The fit, if there is something that makes features of any image."""
    if spec.features.mode == "files":
        raise ConfigError(
            f"run {spec.run_id}: its features ({short_name(spec.backbone.name)}) were computed elsewhere and lie in "
            "files, so there are none of other images"
        )
    return spec


Assigned = tuple[str, Callable[[], NDArray[np.int64]]]
"""The stem of an image, and what gives its (H, W) clusters."""


def _assigned(scored: Iterable[ScoredImage], scores: Path | None, said: list[Path]) -> Iterator[Assigned]:
    """Each image with its clusters, once its scores are written where a folder is given for them (noted in ``said``).

    Clusters are small numbers until their mask is drawn: those of several large photographs wait for that.
    """
    for image in scored:
        if scores is not None:
            said.append(_write_scores(image, scores_file(scores, image.image_id)))
        # Two bytes a pixel while they wait to be drawn: indices of 8 would be four times as large.
        small = assign(image).cpu().numpy().astype(np.uint16)
        yield image.image_id, partial(small.astype, np.int64)


def write_masks(
    assigned: Iterable[Assigned],
    files: FileImages,
    out: Path,
    key: Key,
    wanted: Wanted,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Write the masks of images, what else is wanted but scores, and the legend; drawn by two threads.

    Args:
        assigned: the images.
        files: of the images.
        out: where they go; ``require_targets`` has looked at it.
        key: what masks hold.
        wanted: what to write.
        progress: called with (images done, images in all).

    Returns:
        The files written, those of each image together.
    """
    shown_ones = on_sheet(files.ids) if wanted.sheet else frozenset()

    def drawn(item: Assigned) -> Drawn:
        name, clusters = item
        targets = targets_of(out, name, wanted.overlays)
        image = partial(files.image, name)
        return draw(name, clusters(), image, key, targets, contours=wanted.contours, tile=name in shown_ones)

    found: list[Drawn] = []
    # In order, as what is written is listed so; the backbone works on while two threads encode.
    for one in ordered_map(drawn, assigned, workers=_THREADS, ahead=_THREADS):
        found.append(one)
        progress(len(found), len(files.ids))
    written = [path for one in found for path in one.files]
    if wanted.sheet:
        written.append(write_sheet(out, found, key))
    return [*written, write_legend(out, found, key)]


def _require_room(out: Path, sizes: Sequence[tuple[int, int]], n_clusters: int) -> None:
    """Refuse scores that the disk has no room for. Raises ``StoreError``."""
    needed = sum(height * width for height, width in sizes) * n_clusters * 4
    free = shutil.disk_usage(nearest_folder(out)).free
    if needed > free:
        raise StoreError(
            f"{out}: the scores of {how_many(len(sizes), 'image')} in {n_clusters} clusters take {needed / 1e9:.1f} GB,"
            f" and {free / 1e9:.1f} GB are free there; give fewer or smaller images"
        )


def _write_scores(image: ScoredImage, path: Path) -> Path:
    """(H, W, K) float32."""
    # Band by band: scores of a large photograph would fill the memory.
    shape = (*image.layout.target, image.scores.shape[1])
    with atomic_writer(path) as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for _, band in score_bands(image.scores, image.layout):
            stream.write(band.cpu().numpy().astype("<f4", copy=False).tobytes())
    return path


def _of_whole_images(view: View) -> View:
    """``view`` without what selects, cuts or refines: whole images at their own size."""
    refined = {"crf": None, "refine": None, "upsample": None, "names": None}
    return view.model_copy(update={"subset": None, "centre_crop": None, "label_resize": False, **refined})


# Names for clusters, by the run's own matching, which uses the labels of its evaluation.


def class_key(store: Store, run_id: str, protocol: str | None = None) -> Key:
    """What masks of classes hold: the class of each cluster of a run, by the matching of one of its protocols.

    Args:
        store: the store of the run.
        run_id: a finished run.
        protocol: its name; None: the first under which a grid asks for the run.

    Raises:
        ConfigError: no grid asks for the run under a protocol, or under none of this name, or it is not evaluated
            under it, or its clusters are matched to classes in each image by itself.
        UserError: the classes of its data set are not known, or no pixel that it was evaluated on has one.
    """
    chosen = _chosen(store, run_id, protocol)
    record = store.evaluation_record(run_id, chosen.view.view_id)
    if record is None or record.status != "done":
        how = "not evaluated" if record is None else record.status.replace("_", " ")
        raise ConfigError(f"run {run_id}: {how} under protocol {chosen.name}, so nothing tells classes of its clusters")
    reader = Reader(store)
    lists = todays_lists([reader])
    classes = lists.find(chosen.view.data_name, chosen.scoring.classes)
    scores = run_scores(reader, run_id, chosen, classes, lists)
    if scores.matching is None:
        raise ConfigError(
            f"protocol {chosen.name}: {chosen.scoring.matching} gives a cluster another class in each image, by labels "
            "that these images do not have; name a protocol of another matching"
        )
    matched = np.asarray(scores.matching)
    named, used = len(set(matched[matched >= 0].tolist())), len(scores.classes)
    view = chosen.fit_view or chosen.view
    budget = chosen.scoring.label_budget
    few = "" if budget is None else f" ({how_many(budget, 'image')})"
    labels = f"labels of {short_name(view.dataset)} {view.split}{few}"
    uses = f"which uses the {labels}"
    if chosen.scoring.matching == TEXT:
        labels, uses = "no label", "which uses no label"
    told = (
        f"classes by the matching of protocol {chosen.name} ({chosen.scoring.matching}), {uses}: "
        f"{named} of {used} classes for {how_many(len(matched), 'cluster')}"
    )
    return Key(
        _colours(classes.table.palette if classes is not None else [], used),
        scores.classes,
        matched,
        told,
        f"{labels}, protocol {chosen.name} ({chosen.scoring.matching})",
    )


def _chosen(store: Store, run_id: str, name: str | None) -> Protocol:
    rows = [row for manifest in store.manifests() for row in manifest.rows if run_id in row.runs.values()]
    protocols = {protocol.name: protocol for row in reversed(rows) for protocol in reversed(row.protocols)}
    if not protocols:
        raise ConfigError(
            f"run {run_id}: no grid of the store asks for it under a protocol, so nothing tells classes of its "
            "clusters; run a grid with protocols, which evaluates the stored fit"
        )
    if name is None:
        return next(reversed(protocols.values()))
    if name not in protocols:
        raise ConfigError(unknown(f"protocol of run {run_id}", name, protocols))
    return protocols[name]


def _colours(stated: list[list[int]], n_classes: int) -> NDArray[np.uint8]:
    """(C, 3) colours of the data set; those of clusters where it states none."""
    return np.array(stated, np.uint8) if len(stated) == n_classes else palette(n_classes)
