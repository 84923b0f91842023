"""Standard output and error that never fail for a sign which the terminal or its locale lacks."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata
from typing import TextIO

_NAME = "bench-plain"

# What stands for the signs of tables and messages where they cannot be shown.
_PLAIN = {
    "†": "+",
    "‡": "++",
    "±": "+-",
    "Δ": "d",
    "µ": "u",
    "°": " deg",
    "×": "x",
    "·": ".",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "→": "->",
    "←": "<-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "∞": "inf",
}


def set_up_streams() -> None:
    """Let signs that the encoding of standard output or error lacks be replaced by plain ones from here on.

    Letters lose their accents, bytes of file names that are no text become ``\\xNN``, and what has no likeness in ASCII
    becomes ``?``. Signs that the encoding has stay as they are.
    """
    codecs.register_error(_NAME, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_NAME)


def shows(text: str, stream: TextIO) -> bool:
    """Whether a stream has all signs of a text."""
    try:
        text.encode(stream.encoding or "ascii", "strict")
    except UnicodeEncodeError:
        return False
    return True


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(sign) for sign in error.object[error.start : error.end]), error.end


def _plain(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # how Python holds a byte of a file name that is no text
        return f"\\x{ord(sign) - 0xDC00:02x}"
    likeness = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return _PLAIN.get(sign) or likeness or ("" if unicodedata.combining(sign) else "?")
