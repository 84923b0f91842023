"""``python -m bench``: the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line and leave with its exit code."""
    # OpenMP threads that spin while they wait cost a busy machine several times the work; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _find_package()
    from spectral_bench.common.collection import no_collection

    with no_collection():  # what is imported stays
        from spectral_bench.bench.cli.app import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


def _find_package() -> None:
    """In a checkout that is not installed, ``spectral_bench`` lies in ``src``: here and for all processes to come."""
    source = Path(__file__).resolve().parent.parent / "src"
    if (source / "spectral_bench").is_dir() and str(source) not in sys.path:
        sys.path.insert(0, str(source))
        inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
        os.environ["PYTHONPATH"] = os.pathsep.join([str(source), *inherited])


if __name__ == "__main__":
    main()
