"""``python -m bench``: the command line."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    # OpenMP threads that spin while they wait cost a busy machine several times the work; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from spectral_bench.common.collection import no_collection

    with no_collection():  # what is imported stays
        from spectral_bench.bench.cli.commands import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
