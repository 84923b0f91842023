"""All that is wrong with a document, collected so that it can be said at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from spectral_bench.common.documents.nodes import Node
from spectral_bench.common.errors import ConfigError, UserError


class InvalidDocument(ConfigError):
    """A document is not valid.

    Attributes:
        problems: one line each, ``file:line: key path: what is wrong``.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _position(line: str) -> tuple[str, int]:
    """File and line number that a problem starts with; problems without come first."""
    found = re.match(r"(.*?):(\d+): ", line)
    return (found[1], int(found[2])) if found else ("", 0)


class Problems:
    """Collects problems in the order in which they are found; the same line is kept once."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    def add(self, node: Node, message: str, *, key: str = "") -> None:
        """Note what is wrong with ``node``; ``key`` replaces its key path where the fault is a missing key."""
        path = key or node.path
        self.add_line(f"{node.where}: {path}: {message}" if path else f"{node.where}: {message}")

    def add_line(self, line: str) -> None:
        """Note a problem that is already a whole line."""
        self._lines.setdefault(line.replace("\n", " "))

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._lines)

    def __iter__(self) -> Iterator[str]:
        """The lines."""
        return iter(self._lines)

    def lines(self) -> tuple[str, ...]:
        """All lines, in the order of the file."""
        return tuple(sorted(self._lines, key=_position))

    def check(self) -> None:
        """Raise ``InvalidDocument`` with all lines, in the order of the file, if there are any."""
        if self._lines:
            raise InvalidDocument(self.lines())

    @contextmanager
    def at(self, node: Node) -> Iterator[None]:
        """Turn a ``UserError`` raised in the block into a problem of ``node``, and go on after the block."""
        try:
            yield
        except InvalidDocument as error:
            for line in error.problems:
                self.add_line(line)
        except UserError as error:
            self.add(node, str(error))
