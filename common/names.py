"""Say which names are valid when one is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like ``name``, or None where nothing comes near it."""
    lowered = {v.lower(): v for v in valid}
    match = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return lowered[match[0]] if match else None


def unknown(kind: str, name: str, valid: Iterable[str], *, most: int = 30) -> str:
    """The message for an unknown name: ``unknown method "kmean"; did you mean "kmeans"? valid: ...``.

    At most ``most`` valid names are listed, in alphabetical order.
    """
    names = sorted(valid)
    guess = nearest(name, names)
    hint = f' did you mean "{guess}"?' if guess else ""
    listed = ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
    return f'unknown {kind} "{name}";{hint} valid: {listed or "none"}'


def duration(seconds: float | None) -> str:
    """A time in words: ``12 s``, ``3 min``, ``2.5 h``; ``-`` where it is unknown."""
    if seconds is None:
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def how_many(count: int, noun: str) -> str:
    """A number of things in words: ``1 run``, ``3 runs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def few(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are: ``a, b, c and 2 more``."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
