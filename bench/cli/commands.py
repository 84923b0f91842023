"""Every command of ``bench`` by name, and the group that imports the module of the one that is called, and no other.

Modules of commands import what they need at their top, but for what loads torch: that takes seconds, which neither
``--help`` nor a wrong option shall wait for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from spectral_bench.common.collection import no_collection
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown


class Home(NamedTuple):
    """Where a command is.

    Attributes:
        place: ``module:name`` in this folder, of a function or of a ``typer.Typer`` with commands of its own.
        help: the first sentence of its help, for the list of all commands.
    """

    place: str
    help: str


COMMANDS: Mapping[str, Home] = {
    "run": Home("run:run", "Carry out a grid and print its tables."),
    "plan": Home(
        "run:plan",
        "Print the runs of a grid, which of them are done, and the disk, time and memory that the others need.",
    ),
    "status": Home(
        "status:status", "Print the state of each run: stage and progress while it runs, the reason where it failed."
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
    "report": Home(
        "report:report",
        "Print the tables: a row a configuration, mean and standard deviation over seeds, time and memory.",
    ),
    "compare": Home(
        "compare:compare",
        "Say which cells of A and B differ, by how much, and whether that can be told from noise (paired by seed).",
    ),
    "why": Home(
        "why:why",
        "Say what a run is, how far it is, why it failed or did not converge, and what code and data changed since.",
    ),
    "predict": Home(
        "predict:predict",
        "Segment images by a stored fit: a palette PNG of cluster indices each, and a colour overlay.",
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
    "data": Home("data:app", "Verify or prepare a data set on disk."),
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


class LazyGroup(NearestGroup):
    """Knows names and help of ``COMMANDS``, and loads the one that is called.

    Its commands are empty ones that stand for the list in ``--help`` and for completion.
    """

    def __init__(self, **settings: Any) -> None:
        listed: dict[str, Any] = {
            name: TyperCommand(name, help=home.help, rich_markup_mode=None) for name, home in COMMANDS.items()
        }
        super().__init__(commands=listed, rich_markup_mode=None, **settings)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find and load the command that ``args`` starts with.

        Raises:
            ConfigError: there is none.
        """
        name, found, rest = super().resolve_command(ctx, args)
        return name, found if name is None else load_command(name), rest


def load_command(name: str) -> Any:
    """Import the module of a command of ``COMMANDS``, and make a command of what is there."""
    module, _, attribute = COMMANDS[name].place.partition(":")
    with no_collection():  # what is imported stays
        found = getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name)(found)
        found = alone
    return get_command(found)
