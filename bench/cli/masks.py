"""``bench predict`` and ``bench cluster``: masks of any images, from a stored fit or from one made of them."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

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
    plain_parameters,
    require_folder,
)
from spectral_bench.bench.cli.output import progress_bar, say, show_json, tell, warn
from spectral_bench.bench.cli.text import Names, NamesBackbone, NamesOptions, TextModel, naming_of, require_names
from spectral_bench.bench.code.fingerprint import is_own_file
from spectral_bench.bench.plan.today import CurrentCode, Places, changed_since
from spectral_bench.bench.predict.files import find_images, nearest_folder, passed_over, require_targets
from spectral_bench.bench.predict.pictures import LEGEND
from spectral_bench.common.errors import ConfigError, StoreError
from spectral_bench.common.explain import explain
from spectral_bench.common.names import few, how_many
from spectral_bench.common.registry import short_name
from spectral_bench.results.record import FitRecord
from spectral_bench.results.specification import Features
from spectral_bench.results.state import StoredRun
from spectral_bench.results.store import Store

if TYPE_CHECKING:
    from spectral_bench.bench.predict.cluster import ClusteredImages
    from spectral_bench.bench.predict.names import Naming


Overlays = Annotated[bool, typer.Option("--overlays/--no-overlays", help="Write colour overlays too.")]

Contours = Annotated[bool, typer.Option("--contours", help="Draw the borders of masks on overlays, in white.")]

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
    if protocol is not None and not classes:
        raise ConfigError(f"--protocol {protocol}: chooses the matching of --classes, which is not given")
    if names is not None and classes:
        raise ConfigError("--names and --classes: masks hold words or classes; give one of them")
    require_names(names, names_backbone, names_option, text_model)
    store = Store.open(out)
    if store.is_capsule:
        raise StoreError(f"{store.path}: a capsule, which holds no fits; name the store of the runs by --out")
    run_id = find_run(store, run, among=lambda one: StoredRun(store.fit_record(one)).fitted)
    # All that can be wrong with paths is told before torch is loaded and before the first mask is written.
    files = find_images(images)
    device = parse_device(device)
    require_targets(files, to, overlays=overlays, scores=scores)
    tell_passed_over(images, to)
    # These load torch, which a wrong path shall not wait for.
    from spectral_bench.bench.predict.images import Wanted, class_key
    from spectral_bench.bench.predict.images import predict as predict_images

    key = class_key(store, run_id, protocol) if classes else None
    record = store.fit_record(run_id)
    warn_of_edits(record)
    told = [key.told] if key else list[str]()
    naming = _naming_of_run(record, names, names_backbone, names_option, text_model)
    wanted = Wanted(overlays=overlays, contours=contours, scores=scores)
    with progress_bar("predicting") as progress:
        options: dict[str, Any] = {"wanted": wanted, "key": key, "device": device, "progress": progress}
        options |= {"naming": naming, "named": lambda found: told.append(found.told)}
        written = predict_images(store, run_id, files, to, **options)
    _tell_written(written, to, (*told, *([scores_in_words(record)] if scores and record else [])), as_json=as_json)
    return 0


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


# ``bench cluster``: no labels, no grid, no store.


_OPTIONS, _FEATURES = "backbone_options.", "features."
_METHOD, _BACKBONE = "deep_spectral", "efficientnet_lite0"

Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A parameter of the method (segments=12), or an option of the backbone (backbone_options.weights=random)."
        " May be given several times.",
        metavar="KEY=VALUE",
    ),
]

Network = Annotated[str, typer.Option("--backbone", help="The frozen network: a name, or path/to/file.py:Class.")]
Stored = Annotated[
    Path | None,
    typer.Option(
        "--features",
        help="Folder of features that were computed elsewhere, a file an image: STEM.npy, .pt or .safetensors; "
        "--backbone is their title then. --set features.order=chw and the like as in a grid.",
        metavar="DIR",
    ),
]

Seen = Annotated[
    str, typer.Option("--size", help="What images are resized to for the backbone: the short side, or HEIGHTxWIDTH.")
]

Method = Annotated[
    str, typer.Option("--method", help="A method that needs no labels, by name or as path/to/file.py:Class.")
]

NewFolder = Annotated[
    Path, typer.Option("--to", help="Folder for what is written: a new one, or an empty one.", metavar="DIR")
]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Write into a folder that holds files, over those of the same names.")
]


def cluster(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them, of any sizes.", metavar="IMAGE...")],
    to: NewFolder,
    k: Annotated[int | None, typer.Option("--k", help="Number of clusters; default: 8.", metavar="N")] = None,
    method: Method = _METHOD,
    backbone: Network = _BACKBONE,
    features: Stored = None,
    parameters: Parameters = None,
    size: Seen = "320",
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the fit.")] = 0,
    names: Names = None,
    names_backbone: NamesBackbone = None,
    names_option: NamesOptions = None,
    text_model: TextModel = None,
    device: Device = "auto",
    overlays: Overlays = True,
    contours: Contours = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Cluster images: fit a method on them and write masks, overlays, a contact sheet and a legend.

    Clusters are shared by all images: 3 means the same in each of them. Needs no labels, no grid and no store.
    """
    require_folder(to)
    require_drawn(overlays=overlays, contours=contours)
    require_names(names, names_backbone, names_option, text_model)
    stated = with_clusters(plain_parameters(parameters or []), k)
    options, given = taken(stated, _OPTIONS), files_of(features, taken(stated, _FEATURES))
    seen, device = parse_size(size), parse_device(device)
    files = find_images(images)
    require_targets(files, to, overlays=overlays)
    require_empty(to, overwrite=overwrite)
    tell_passed_over(images, to)
    # Loads torch, which a wrong path shall not wait for.
    from spectral_bench.bench.predict.cluster import cluster_files, clustering_params, network, with_text
    from spectral_bench.bench.run.context import resolve_device

    if names is not None and with_text(method, names, stated, options):  # its own network names its clusters
        names_backbone, names_option = backbone, None
    naming = naming_of(names, backbone, options, names_backbone, names_option, text_model)
    with _bars() as bar:
        found = cluster_files(
            files,
            method,
            clustering_params(method, stated, len(files)),
            network(backbone, options, given),
            features=given,
            naming=naming,
            size=seen,
            seed=seed,
            device=resolve_device(device),
            progress=bar("looking at images"),
            fitting=bar(f"fitting {short_name(method)}"),
            calling=bar("naming clusters"),
        )
        written = found.save(to, overlays=overlays, contours=contours, progress=bar("writing masks"))
    show_json(_json(found, written)) if as_json else tell("\n".join(lines(found, to, overlays=overlays)))
    return 0


def _json(found: ClusteredImages, written: Sequence[Path]) -> dict[str, Any]:
    return {"files": [str(path) for path in written], "settings": found.settings}


def require_empty(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds files, which would lie among those of this command, or where none may be written.

    Raises:
        StoreError: it is one of them.
    """
    if not os.access(place := nearest_folder(folder), os.W_OK | os.X_OK):
        raise StoreError(f"{folder}: cannot be written ({place} may not be written to)")
    there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    if there and not overwrite:
        raise StoreError(
            f"{folder}: holds files already ({few(there)}); give a folder of its own, or --overwrite to write over "
            "those of the same names"
        )


def taken(stated: dict[str, Any], start: str) -> dict[str, Any]:
    """The parameters whose names start so, without that, taken out of what is stated."""
    return {key.removeprefix(start): stated.pop(key) for key in list(stated) if key.startswith(start)}


def files_of(root: Path | None, how: dict[str, Any]) -> Features | None:
    """The files of ``--features`` as a grid would state them; None where a backbone makes features.

    Raises:
        ConfigError: something is stated of files without any, or is not valid.
    """
    if root is None:
        if how:
            raise ConfigError(f"--set {_FEATURES}{next(iter(how))}: is for --features, which is not given")
        return None
    try:
        return Features.model_validate({"mode": "files", "root": str(root.absolute()), **how})
    except ValidationError as error:
        problems = [explain("key", "features", Features, problem) for problem in error.errors()]
        raise ConfigError(f"--features {root}: {'; '.join(problems)}") from error


def with_clusters(stated: dict[str, Any], k: int | None) -> dict[str, Any]:
    """The parameters of ``--set`` with those of ``--k``.

    Raises:
        ConfigError: both say K.
    """
    if k is not None and "k" in stated:
        raise ConfigError(f"--k {k} and --set k={stated['k']}: give one of them")
    return stated if k is None else {**stated, "k": k}


def parse_size(text: str) -> int | tuple[int, int]:
    """A short side, or (height, width), in pixels.

    Raises:
        ConfigError: it is neither.
    """
    sides = text.lower().split("x")
    if not all(side.isdecimal() and int(side) >= 16 for side in sides) or len(sides) > 2:
        raise ConfigError(
            f'--size: "{text}"; expected a short side such as 320, or HEIGHTxWIDTH such as 320x480, 16 pixels or more'
        )
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def lines(found: ClusteredImages, to: Path, *, overlays: bool) -> Iterator[str]:
    """What was done, for people."""
    made, (height, width), (rows, columns) = found.settings, found.size, found.settings["grid"]
    yield (
        f"{how_many(len(found), 'image')} seen by {short_name(made['backbone']['name'])} at {height} x {width} pixels, "
        f"{rows} x {columns} patches each"
    )
    used = "" if found.names else f" {_in_use(to)} in use,"
    yield (
        f"{short_name(made['method'])}: {found.n_clusters} clusters,{used} shared by all images; "
        f"seed {made['seed']}, {made['device']}"
    )
    if found.names:
        yield found.named_by
        called = {name or "no name": how_many(found.names.count(name), "cluster") for name in found.names}
        yield f"names: {', '.join(f'{name} ({clusters})' for name, clusters in called.items())}"
    what = f"{how_many(len(found), 'mask')} (PNG){', overlays' if overlays else ''}"
    vectors = ", names.safetensors" if made.get("names") and made["names"]["file"] is None else ""
    yield f"written to {to}: {what}, contact_sheet.jpg, legend.csv, settings.json{vectors}"
    for failed in found.failed_checks:
        warn(f"not converged: {failed}")


def _in_use(folder: Path) -> int:
    with (folder / LEGEND).open(newline="") as file:
        return sum(row["images"] != "0" for row in csv.DictReader(file))


@contextmanager
def _bars() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Gives bars that follow each other: the first call of one ends the one before."""
    with ExitStack() as stack:
        current: list[str] = []

        def bar(title: str) -> Callable[[int, int], None]:
            moved: list[Callable[[int, int], None]] = []

            def move(done: int, total: int) -> None:
                if current != [title]:
                    stack.close()
                    current[:] = [title]
                    moved[:] = [stack.enter_context(progress_bar(title))]
                moved[0](done, total)

            return move

        yield bar
