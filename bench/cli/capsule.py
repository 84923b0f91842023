"""``bench pack`` and ``bench replay``: results that travel with their tables, and the proof that these are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    Against,
    Debug,
    GridOption,
    Json,
    Out,
    Protocol,
    Roots,
    SeveralMatchings,
    require_folder,
)
from spectral_bench.bench.cli.output import progress_bar, say, show_json, show_table, tell, warn
from spectral_bench.bench.plan.titles import text_of_grid
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many
from spectral_bench.results.capsule import ReportOptions
from spectral_bench.results.store import Store

if TYPE_CHECKING:  # draws: matplotlib is what wrong options shall not wait for
    from spectral_bench.reports.capsule import Packed
    from spectral_bench.reports.replay import Difference, Replay

STORE = typer.Argument(help="The store, as --out.", metavar="STORE", show_default=False)
_WIDTH = 68  # letters of a line that are shown: with what stands before them they fit into 80 columns
_BEFORE = 24  # letters before the first one that differs


def pack(
    store: Annotated[Path | None, STORE] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Folder of the capsule.", metavar="DIR")] = None,
    grid: GridOption = None,
    protocol: Protocol = None,
    matching: SeveralMatchings = None,
    against: Against = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=0, help="Resamples of the images, for intervals over images; 0: none.")
    ] = 0,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Pack although runs are not finished; each caption says so.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a capsule that is there already.")] = False,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Pack what tables and figures of a grid rest on into a small capsule, with these tables and figures.

    Kept are records, counts, training curves and the grid; weights, features and images are not. Names of hosts and
    folders are replaced by neutral words. A capsule is a store that can be read, by report, compare, why and others.
    """
    from spectral_bench.reports.capsule import pack as pack_store

    if to is None:
        raise ConfigError("expected the folder of the capsule: bench pack STORE --grid GRID --to DIR")
    source = _one_folder(store, out)
    require_folder(to)
    place = Store.open(source)
    name, text = (None, "") if grid is None else text_of_grid(grid, place.manifests())
    stated = ReportOptions(protocol=protocol, matching=matching or [], against=against or [], resamples=resamples)
    with progress_bar("packing") as progress:
        packed = pack_store(
            place,
            to,
            grid=name,
            options=stated if stated != ReportOptions() else None,
            grid_text=text,
            preliminary=unfinished,
            force=force,
            progress=progress,
        )
    for folder in packed.fixed:
        warn(f"{folder}: ids of early runs rest on this folder, so the capsule names it")
    if as_json:
        show_json(_packed_json(packed))
    else:
        _show_packed(packed, to)
    return 0


def _one_folder(argument: Path | None, out: Path) -> Path:
    """The folder that a command was called with, as an argument or by ``--out``."""
    if argument is not None and out != DEFAULT_OUT:
        raise ConfigError(f"--out {out}: the folder is given already, as {argument}; give it once")
    return out if argument is None else argument


def _packed_json(packed: Packed) -> dict[str, Any]:
    told = packed.capsule.model_dump(mode="json", exclude={"files"})
    sizes = {"files": len(packed.capsule.files) + 1, "bytes": packed.bytes}
    return {"folder": str(packed.folder), "digest": packed.capsule.digest, **sizes, **told, "fixed": list(packed.fixed)}


def _show_packed(packed: Packed, to: Path) -> None:
    capsule = packed.capsule
    runs = f"{how_many(capsule.runs, 'run')} of {', '.join(capsule.grids)}"
    say(f"{to}: {runs}; {how_many(len(capsule.files) + 1, 'file')}, {_size(packed.bytes)}; digest {capsule.digest}")
    if capsule.unfinished:
        tell(f"preliminary: {how_many(len(capsule.unfinished), 'run')} not finished, as each caption says")
    if capsule.left_out:
        say("left out:")
        largest = sorted(capsule.left_out.items(), key=lambda item: -item[1].bytes)
        rows = [(f"  {kind}", one.files, _size(one.bytes)) for kind, one in largest]
        show_table(("", "files", "size"), rows, right=("files", "size"))
    if capsule.neutral:
        words = ", ".join(how_many(count, kind) for kind, count in capsule.neutral.items())
        tell(f"replaced by neutral words: {words}")
    tell(f"compute it again: bench replay {to}")


def replay(
    folder: Annotated[
        Path | None, typer.Argument(help="The capsule, as --out.", metavar="DIR", show_default=False)
    ] = None,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Compute every table and figure of a capsule anew and compare them with those that it holds, to the byte.

    It takes neither data nor weights nor a network, and writes nothing. Exit code 0: all is equal; 1: a file differs;
    2: it is no capsule.
    """
    from spectral_bench.reports.replay import replay as replay_capsule

    folder = _one_folder(folder, out)
    found = replay_capsule(folder)
    if as_json:
        show_json(_replay_json(found))
    else:
        _show_replay(found, folder)
    return 0 if found.equal else 1


def _replay_json(found: Replay) -> dict[str, Any]:
    return {
        "equal": found.equal,
        "digest": found.capsule.digest,
        "grids": found.capsule.grids,
        "runs": found.capsule.runs,
        "unfinished": found.capsule.unfinished,
        "compared": list(found.compared),
        "pictures": list(found.pictures),
        "differences": [asdict(one) for one in found.differences],
        "problem": found.problem,
        "unlike": {name: list(versions) for name, versions in found.unlike.items()},
    }


_WORDS = {
    "changed": "is not what was packed",
    "missing": "is missing",
    "not packed": "was not packed",
    "differs": "is computed otherwise now",
    "not recomputed": "is not computed any more",
    "not shipped": "is computed, and was not packed",
}


def _show_replay(found: Replay, folder: Path) -> None:
    capsule = found.capsule
    for one in found.differences:
        _show_difference(one)
    if found.problem:
        tell(f"no report can be computed: {found.problem}")
    lost = f", {len(capsule.unfinished)} of them not finished" if capsule.unfinished else ""
    say(f"{folder}: {how_many(capsule.runs, 'run')} of {', '.join(capsule.grids)}{lost}; digest {capsule.digest}")
    if found.equal:
        files = how_many(len(found.compared), "file")
        tell(f"equal to the byte: {files} of tables, numbers and data of figures")
        if found.pictures:
            tell(f"not drawn anew: {how_many(len(found.pictures), 'picture')}, whose data are compared")
        return
    tell(f"{how_many(len(found.differences), 'file')} not equal")
    if all(one.what in ("differs", "not shipped", "not recomputed") for one in found.differences) and not found.problem:
        _show_reason(found)


def _show_reason(found: Replay) -> None:
    """Every file is what was packed: then it is the code that computes otherwise."""
    versions = [f"{name} {then or '-'} then, {now or '-'} now" for name, (then, now) in found.unlike.items()]
    tell("what the report is computed from is as it was packed; " + ("; ".join(versions) or "packages are the same"))
    tell(
        "where another release words or computes tables otherwise: bench pack DIR --to DIR --force makes them anew of "
        "the same records"
    )


def _show_difference(one: Difference) -> None:
    where = f", line {one.line}" if one.line else ""
    say(f"{one.path}{where}: {_WORDS[one.what]}")
    if one.line:
        for sign, text in zip("-+", _cut(one.shipped, one.replayed), strict=True):
            say(f"  {sign} {text}")


def _cut(*texts: str | None) -> Sequence[str]:
    """Two lines as far as they fit, from shortly before the first letter that differs."""
    first, second = (text or "" for text in texts)
    same = next((n for n, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, same - _BEFORE) if max(len(first), len(second)) > _WIDTH else 0
    return ["(no such line)" if text is None else _part(text, start) for text in texts]


def _part(text: str, start: int) -> str:
    head, tail = "..." if start else "", "..." if len(text) > start + _WIDTH else ""
    return f"{head}{text[start : start + _WIDTH]}{tail}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
