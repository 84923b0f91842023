"""What reports of a store take in CPU seconds and memory: ``python benchmarks/bench_report.py STORE``.

Three commands, each in a process of its own, beside those of another checkout where ``--against`` names one. The first
report is timed without kept scores, the second with those that it kept, and then everything with ``--all``, galleries
included unless ``--no-gallery``: from a copy of the store, so that each makes its panels anew. The store is as it was
before, but for its scores. For a large store see ``large_store.py``; for the shipped ablation run ``python -m bench run
--grid ablations.yaml --out STORE``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def measured(checkout: Path, arguments: list[str]) -> tuple[float, float]:
    """CPU seconds and peak resident MB of one command, which must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-m", "bench", *arguments]
    process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{checkout}: {' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print a line a command and checkout."""
    parser = argparse.ArgumentParser(description="CPU seconds and peak memory of reports of a store.")
    parser.add_argument("store", type=Path)
    parser.add_argument("--against", type=Path, help="another checkout, measured in turn with this one")
    parser.add_argument("--no-gallery", action="store_true")
    given = parser.parse_args()
    store = given.store.resolve()
    checkouts = [HERE, *([given.against.resolve()] if given.against else [])]
    shutil.rmtree(store / "scores", ignore_errors=True)
    for name in ("first report", "report", "report --all"):
        for checkout in checkouts:
            with tempfile.TemporaryDirectory() as folder:
                read, arguments = store, []
                if name == "report --all":
                    arguments = ["--all", f"{folder}/report", *(["--no-gallery"] if given.no_gallery else [])]
                    read = store if given.no_gallery else Path(shutil.copytree(store, f"{folder}/store"))
                seconds, megabytes = measured(checkout, ["report", "--out", str(read), *arguments])
                where = "here" if checkout == HERE else checkout.name
                sys.stdout.write(f"{name:<14} {where:<12} {seconds:7.1f} CPU s {megabytes:7.0f} MB\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
