"""What training side by side saves: CPU seconds (and wall seconds) of ``bench run`` with and without cohorts.

    python benchmarks/bench_cohort.py FOLDER [--grid ablations.yaml] [--rounds 3] [--set ...] [--old CHECKOUT]

Each round carries the grid out once in each way, from an empty store, in turns; CPU seconds are those of all processes
that a way has started. Then all fits and counts are compared byte by byte. ``--old`` adds the code of another checkout.
``--device cuda`` and so on, after ``--``, go to ``bench run``. Prints a Markdown table: medians with their range.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

_SUBREAPER = 36  # of prctl(2): processes whose parent has ended become children of this one
ROOT = Path(__file__).parents[1]


def spent() -> float:
    """CPU seconds of all processes that have ended below this one."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            return used.ru_utime + used.ru_stime


def carry_out(checkout: Path, store: Path, arguments: list[str]) -> tuple[float, float]:
    """CPU and wall seconds of one launch into an empty store."""
    shutil.rmtree(store, ignore_errors=True)
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    before, begun = spent(), time.perf_counter()
    command = [sys.executable, "-m", "bench", "run", "--out", str(store), *arguments]
    subprocess.run(command, check=True, cwd=checkout, env=environment, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - begun
    return spent() - before, wall


def differing(one: Path, other: Path) -> list[str]:
    """The fits and counts of one store that are not the same in another."""
    records = one / "records"
    files = [*records.glob("*/fit.safetensors"), *records.glob("*/evaluations/*.npz")]
    names = [str(path.relative_to(one)) for path in files]
    return [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--grid", default="ablations.yaml")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--old", type=Path, help="another checkout, measured beside this one")
    parser.add_argument("options", nargs="*", help="of bench run, after --")
    given = parser.parse_args()
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    common = ["--grid", str(Path(given.grid).absolute()), *given.options]
    ways = {"alone": (ROOT, ["--cohort", "off"]), "side by side": (ROOT, ["--cohort", "auto"])}
    if given.old is not None:
        ways = {"other checkout": (given.old.absolute(), []), **ways}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, (checkout, options) in ways.items():
            store = given.folder.absolute() / name.replace(" ", "-")
            times[name].append(carry_out(checkout, store, [*common, *options]))
            sys.stderr.write("{}: {:.1f} s of CPU, {:.1f} s\n".format(name, *times[name][-1]))
    first = next(iter(ways))
    sys.stdout.write("| | CPU (s) | of the first | wall (s) |\n|---|--:|--:|--:|\n")
    for name, found in times.items():
        cpu, ratio = [one[0] for one in found], [b[0] / a[0] for a, b in zip(times[first], found, strict=True)]
        wall = median(one[1] for one in found)
        sys.stdout.write(
            f"| {name} | {median(cpu):.1f} ({min(cpu):.1f} to {max(cpu):.1f}) "
            f"| {median(ratio):.2f} ({min(ratio):.2f} to {max(ratio):.2f}) | {wall:.1f} |\n"
        )
        store = given.folder.absolute() / name.replace(" ", "-")
        assert not differing(given.folder.absolute() / first.replace(" ", "-"), store)
    sys.stdout.write("\nAll fits and counts are the same to the byte.\n")


if __name__ == "__main__":
    main()
