"""A group of commands that suggests the nearest one."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from common.errors import ConfigError
from common.names import unknown


class NearestGroup(TyperGroup):
    """Refuses an unknown command with the nearest valid one and the list of all."""

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
