"""A group of commands that suggests the nearest one."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown


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
