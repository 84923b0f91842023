"""``bench``: every command by name, loaded when it is called, run, and its errors turned into lines and exit codes.

Modules of commands import what they need at their top, but for what loads torch: that takes seconds, which neither
``--help`` nor a wrong option shall wait for.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from spectral_bench.bench.cli.output import set_up_streams
from spectral_bench.common.collection import importing
from spectral_bench.common.errors import ConfigError, UserError, WorkFailed
from spectral_bench.common.names import unknown


class Home(NamedTuple):
    """Where a command is.

    Attributes:
        place: ``module:name`` in this folder, of a function or of a ``typer.Typer`` with commands of its own.
        help: the first sentence of its help, for the list of all commands.
        parser: ``module:name`` of a command class of typer with rules of its own; empty: typer's.
    """

    place: str
    help: str
    parser: str = ""


COMMANDS: Mapping[str, Home] = {
    "init": Home(
        "data:init",
        "Write a first grid for a data set, with comments; as it is, it runs in a few minutes on two cores.",
    ),
    "run": Home("run:run", "Carry out a grid and print its tables."),
    "plan": Home(
        "plan:plan",
        "Print the runs of a grid, which of them are done, and the disk, time and memory that the others need.",
    ),
    "status": Home(
        "status:status",
        "Print the state of each run: stage and progress while it runs, the reason where it failed.",
        "status:Watchable",
    ),
    "logs": Home("status:logs", "Print the log of a run; where it has none, what Slurm said of its job."),
    "cancel": Home(
        "slurm:cancel",
        "Cancel runs: those in Slurm's queue, and those that other processes of this machine have in hand.",
    ),
    "retry": Home(
        "retry:retry",
        "Try again what did not end well, as it was ordered before; a run that has a checkpoint goes on from there.",
    ),
    "prune": Home(
        "prune:prune",
        "Show what a store holds that nothing needs any more, and with --yes remove it.",
    ),
    "report": Home(
        "report:report",
        "Print the tables: a row a configuration, mean and standard deviation over seeds, time and memory.",
        "report:Watchable",
    ),
    "pack": Home(
        "capsule:pack",
        "Pack what tables and figures of a grid rest on into a small capsule, with these tables and figures.",
    ),
    "replay": Home(
        "capsule:replay",
        "Compute every table and figure of a capsule anew and compare them with those that it holds, to the byte.",
    ),
    "compare": Home(
        "compare:compare",
        "Say which cells of A and B differ, by how much, and whether that can be told from noise (paired by seed).",
    ),
    "check-paper": Home(
        "paper:check_paper",
        "Look up the numbers of a paper in a store: those of macros, of pasted tables, and of sentences.",
    ),
    "why": Home(
        "why:why",
        "Say what a run is, how far it is, why it failed or did not converge, and what code and data changed since.",
    ),
    "predict": Home(
        "masks:predict",
        "Segment images by a stored fit: a palette PNG of cluster indices each, a colour overlay, and a legend.",
    ),
    "cluster": Home(
        "cluster:cluster",
        "Cluster images: fit a method on them and write masks, overlays, a contact sheet and a legend.",
    ),
    "check-method": Home(
        "check:check_method",
        "Check a method on small scenes: no labels reach it, seeds decide, resuming changes nothing, bad input is"
        " told.",
    ),
    "check-backbone": Home(
        "check:check_backbone",
        "Check a backbone on small images: levels as stated, the same bits each time, no gradient, bad options"
        " refused.",
    ),
    "doctor": Home("check:doctor", "Say what this machine offers and what is in the way; exit code 1 if something is."),
    "version": Home("check:version", "Print the version."),
    "list": Home("listing:app", "List methods, data sets, backbones or protocols."),
    "data": Home("data:app", "Describe, verify or prepare a data set on disk."),
}


class NearestGroup(TyperGroup):
    """Refuses an unknown command with the nearest valid one and the list of all."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options of the group itself off ``args``.

        Raises:
            ConfigError: nothing is left, and this group is itself a command.
        """
        if not args and ctx.parent is not None:
            raise ConfigError(f"{ctx.command_path}: expected one of its commands; valid: {', '.join(self.commands)}")
        return list(super().parse_args(ctx, args))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that ``args`` starts with.

        Raises:
            ConfigError: there is none.
        """
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise ConfigError(unknown("command", args[0], self.commands))
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in the order in which they were added, most used first."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with the first paragraph of their help, wrapped: typer would cut it to one line."""
        rows = [(name, _first_paragraph(self.commands[name].help)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class LazyGroup(NearestGroup):
    """Knows names and help of ``COMMANDS``, and loads the one that is called.

    Its commands are empty ones that stand for the list in ``--help`` and for completion. What it allows of ``-h`` holds
    for them too.
    """

    def __init__(self, **settings: Any) -> None:
        listed: dict[str, Any] = {
            name: TyperCommand(name, help=home.help, rich_markup_mode=None) for name, home in COMMANDS.items()
        }
        super().__init__(
            commands=listed,
            rich_markup_mode=None,
            params=_options(),
            context_settings={"help_option_names": ["-h", "--help"]},
            **settings,
        )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find and load the command that ``args`` starts with.

        Raises:
            ConfigError: there is none.
        """
        name, found, rest = super().resolve_command(ctx, args)
        return name, found if name is None else load_command(name), rest


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().partition("\n\n")[0].split())


def _options() -> list[Any]:
    """The options of ``bench`` itself: its version, and typer's two for the completion of commands by the shell."""
    front = typer.Typer(rich_markup_mode=None)

    @front.callback()
    def bench(
        version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    ) -> None:
        """Stands for the group, whose options typer makes of this."""

    version, *completion = get_command(front).params
    version.callback = lambda context, option, given: load_function("version")() if given else None
    for option in (version, *completion):
        option.callback = _then_leave(option.callback)
    return [version, *completion]


def _then_leave(callback: Any) -> Any:
    """The callback of an option that does something of its own in place of a command."""

    def called(context: Any, option: Any, given: Any) -> None:
        try:
            callback(context, option, given)
        except SystemExit as left:  # typer's own leave so, which here stands for the mistake of a user's own file
            raise typer.Exit(left.code if isinstance(left.code, int) else 0) from None
        if given and not context.resilient_parsing:
            raise typer.Exit

    return called


def load_function(name: str) -> Any:
    """Import the module of a command of ``COMMANDS``; what is there: a function, or a ``typer.Typer``."""
    return _load(COMMANDS[name].place)


def _load(place: str) -> Any:
    module, _, attribute = place.partition(":")
    with importing():
        return getattr(importlib.import_module(f"{__package__}.{module}"), attribute)


def load_command(name: str) -> Any:
    """A command of ``COMMANDS``, made of what its module holds."""
    found, parser = load_function(name), COMMANDS[name].parser
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name, cls=_load(parser) if parser else None)(found)
        found = alone
    return get_command(found)


# The command line itself: one command, its errors, its exit code.


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
        # standalone_mode=False: errors come to us, and none of them ends the process.
        code = int(app(args=list(arguments) or ["--help"], prog_name="bench", standalone_mode=False) or 0)
        if code != _INTERRUPTED:
            return code
        raise KeyboardInterrupt
    except UserError as error:
        if "--debug" in arguments:  # read here, as the error may be one of the options themselves
            raise
        return complain(error)
    except WorkFailed as error:
        if "--debug" in arguments:
            raise
        complain(error)
        return 1
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
    # The rest of our output goes nowhere: Python would complain again when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def complain(error: object) -> int:
    """Print each line of an error to standard error, and return the exit code of bad input."""
    for line in str(error).splitlines():
        sys.stderr.write(f"error: {line}\n")
    return 2
