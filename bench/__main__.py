"""``python -m bench``: the command line."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    # OpenMP threads that spin while they wait cost a busy machine several times the work; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from spectral_bench.common.collection import importing

    with importing():
        from spectral_bench.bench.cli.commands import run_command_line

    code = run_command_line(sys.argv[1:])
    gc.freeze()  # Python's last collections would go through all of torch, for 0.7 s, before the memory is given back
    sys.exit(code)


if __name__ == "__main__":
    main()
