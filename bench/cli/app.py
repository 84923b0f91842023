"""``bench``: run the command that is called, and turn errors into lines and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from spectral_bench.bench.cli.commands import LazyGroup
from spectral_bench.bench.cli.output import set_up_streams
from spectral_bench.common.errors import UserError

# Typer brings its own copy of click in newer releases, so its errors are found through what it exports.
_UsageError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
# What typer makes of Ctrl-C.
_INTERRUPTED = 130

# Set where a shell asks typer to complete a command line.
_COMPLETION = "_BENCH_COMPLETE"

app = LazyGroup(
    name="bench",
    help="Benchmark and ablation harness for spectral methods in unsupervised semantic segmentation.",
)


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: what follows ``python -m bench``.

    Returns:
        0 if everything asked for is done, 1 if something failed or is unfinished, 2 for bad input.
    """
    set_up_streams()
    try:
        code = int(app(args=list(arguments) or ["--help"], prog_name="bench", standalone_mode=False) or 0)
        if code != _INTERRUPTED:
            return code
        raise KeyboardInterrupt
    except UserError as error:
        if "--debug" in arguments:
            raise
        return complain(error)
    except _UsageError as error:
        message: Any = error
        return complain(message.format_message())
    except UnicodeEncodeError as error:
        if "--debug" in arguments or error.encoding.replace("_", "-").lower().startswith("utf"):
            raise
        return complain(
            f"{error.object!r} cannot be written in {error.encoding}, the encoding of this locale; set PYTHONUTF8=1 or"
            " LC_ALL=C.UTF-8"
        )
    except SystemExit as left:
        if _COMPLETION in os.environ:  # typer has answered the shell
            return int(left.code or 0)
        if isinstance(left.__context__, BrokenPipeError):  # which typer has met before us
            return _reader_is_gone()
        # Of a user's own file: no command of ours leaves so.
        message = f"a file that was loaded called sys.exit({left.code!r})"
        if "--debug" in arguments:
            raise RuntimeError(message) from left
        return complain(f"{message}; --debug shows where")
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted; the store is valid, and the same command goes on where this one stopped\n")
        return 1
    except BrokenPipeError:
        return _reader_is_gone()


def _reader_is_gone() -> int:
    """Write the rest of our output to nowhere: Python would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def complain(error: object) -> int:
    """Print each line of an error to standard error, and return the exit code of bad input."""
    for line in str(error).splitlines():
        sys.stderr.write(f"error: {line}\n")
    return 2
