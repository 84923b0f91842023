"""``bench predict``: masks of any images from a stored fit, and what ``bench cluster`` shares with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    Debug,
    Device,
    Json,
    Out,
    Reference,
    Roots,
    find_run,
    parse_device,
    require_folder,
)
from spectral_bench.bench.cli.output import progress_bar, say, show_json, tell, warn
from spectral_bench.bench.cli.text import Names, NamesBackbone, NamesOptions, TextModel, naming_of, require_names
from spectral_bench.bench.code.fingerprint import is_own_file
from spectral_bench.bench.plan.today import CurrentCode, Places, changed_since
from spectral_bench.bench.predict.faults import one_line
from spectral_bench.bench.predict.files import all_or_none, find_images, passed_over, require_empty, require_targets
from spectral_bench.common.errors import ConfigError, StoreError
from spectral_bench.common.names import few, how_many
from spectral_bench.results.record import FitRecord
from spectral_bench.results.state import StoredRun
from spectral_bench.results.store import Store

if TYPE_CHECKING:
    from spectral_bench.bench.predict.names import Naming


Overlays = Annotated[bool, typer.Option("--overlays/--no-overlays", help="Write colour overlays too.")]

Contours = Annotated[bool, typer.Option("--contours", help="Draw the borders of masks on overlays, in white.")]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Write into a folder that holds files, over those of the same names.")
]

Classes = Annotated[
    bool,
    typer.Option("--classes", help="Masks of classes: each cluster's by the run's own matching, which uses labels."),
]

Whose = Annotated[
    str | None, typer.Option("--protocol", help="With --classes: whose matching; default: the run's first.")
]

Scores = Annotated[bool, typer.Option("--scores", help="Write the scores of all clusters too: NAME_scores.npy.")]


def predict(
    run: Reference,
    images: Annotated[
        list[Path],
        typer.Argument(help="Images, or folders of them (hidden and other files are passed over).", metavar="IMAGE..."),
    ],
    to: Annotated[
        Path, typer.Option("--to", help="Folder for the masks and overlays, not that of the images.", metavar="DIR")
    ],
    out: Out = DEFAULT_OUT,
    overlays: Overlays = True,
    contours: Contours = False,
    classes: Classes = False,
    protocol: Whose = None,
    scores: Scores = False,
    overwrite: Overwrite = False,
    names: Names = None,
    names_backbone: NamesBackbone = None,
    names_option: NamesOptions = None,
    text_model: TextModel = None,
    device: Device = "auto",
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Segment images by a stored fit: a palette PNG of cluster indices each, a colour overlay, and a legend.

    Images are turned upright as their camera's orientation tag says, and so are masks and overlays.
    """
    require_folder(to)
    require_drawn(overlays=overlays, contours=contours)
    _require_one_kind(names, protocol, classes=classes)
    require_names(names, names_backbone, names_option, text_model)
    store = Store.open(out)
    if store.is_capsule:
        raise StoreError(f"{store.path}: a capsule, which holds no fits; name the store of the runs by --out")
    run_id = find_run(store, run, among=lambda one: StoredRun(store.fit_record(one)).fitted)
    # All that can be wrong with paths is told before torch is loaded and before the first mask is written.
    files, device = find_images(images), parse_device(device)
    require_targets(files, to, overlays=overlays, scores=scores)
    there = require_empty(to, overwrite=overwrite)
    tell_passed_over(images, to)
    # These load torch, which a wrong path shall not wait for.
    from spectral_bench.bench.predict.images import Wanted, class_key
    from spectral_bench.bench.predict.images import predict as predict_images

    key = class_key(store, run_id, protocol) if classes else None
    record = store.fit_record(run_id)
    warn_of_edits(record)
    told = [key.told] if key else list[str]()
    parts = (record.spec.method, record.spec.backbone.name) if record else ("", "")
    with one_line(*parts, names_backbone), progress_bar("predicting") as progress, all_or_none(files, to, there):
        naming = _naming_of_run(record, names, names_backbone, names_option, text_model)
        wanted = Wanted(overlays=overlays, contours=contours, scores=scores)
        options: dict[str, Any] = {"wanted": wanted, "key": key, "device": device, "progress": progress}
        options |= {"naming": naming, "named": lambda found: told.append(found.told)}
        written = predict_images(store, run_id, files, to, **options)
    _tell_written(written, to, (*told, *([scores_in_words(record)] if scores and record else [])), as_json=as_json)
    warn_of_others(there, written, to)
    return 0


def _require_one_kind(names: str | None, protocol: str | None, *, classes: bool) -> None:
    """Refuse options that say two things of what masks hold. Raises ``ConfigError``."""
    if protocol is not None and not classes:
        raise ConfigError(f"--protocol {protocol}: chooses the matching of --classes, which is not given")
    if names is not None and classes:
        raise ConfigError("--names and --classes: masks hold words or classes; give one of them")


def _naming_of_run(
    record: FitRecord | None, names: str | None, network: str | None, options: list[str] | None, text_model: str | None
) -> Naming | None:
    if record is None:
        return None
    backbone = record.spec.backbone
    return naming_of(names, backbone.name, backbone.options, network, options, text_model)


def _tell_written(written: Sequence[Path], to: Path, told: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        show_json([str(path) for path in written])
        return
    for line in told:
        tell(line)
    say(f"{how_many(len(written), 'file')} written to {to}")


def require_drawn(*, overlays: bool, contours: bool) -> None:
    """Refuse contours without overlays. Raises ``ConfigError``."""
    if contours and not overlays:
        raise ConfigError("--contours: borders are drawn on overlays, which --no-overlays leaves out")


def warn_of_others(there: frozenset[str], written: Sequence[Path], to: Path) -> None:
    """Name the files of a folder that lay there before and were not written over: they are not of this command."""
    if others := sorted(there - {path.name for path in written}):
        warn(f"{to}: not of this command, and left as they were: {few(others)}")


def tell_passed_over(images: Sequence[Path], to: Path) -> None:
    """Name the folders with images that lie in the folders that were given, and get no masks."""
    if found := passed_over(images, to):
        warn(f"folders in folders are not looked into, give them by name: {few(list(map(str, found)))}")


def warn_of_edits(record: FitRecord | None) -> None:
    """Name the files of a user's own, its method's and its backbone's, that are not as they were when it was fitted."""
    if record is None:
        return
    spec = record.spec
    places = Places(spec.method, "synthetic", spec.backbone.name)  # a prediction looks at no data set
    edited = [name for name in changed_since(record, (), CurrentCode(), places) if is_own_file(name)]
    if edited:
        warn(f"edited since {record.run_id} was fitted: {few(edited)}; these masks are of the code as it is now")


def scores_in_words(record: FitRecord) -> str:
    """What the files of ``--scores`` hold, in a line."""
    kinds = {"one_hot": "1 for its cluster and 0 for others", "distance": "minus the squared distance to each centre"}
    method = record.spec.method.rsplit(":", 1)[-1]
    kind = kinds.get(str(record.spec.params.get("scores")), f"what {method} gives")
    return (
        f"scores: float32, height x width x {record.n_clusters}, the largest being the pixel's cluster; "
        f"a patch has {kind}, pixels lie bilinearly between patches"
    )
