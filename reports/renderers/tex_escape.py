"""Any text as LaTeX that every engine compiles: special characters, accents, Greek letters and common symbols."""

from __future__ import annotations

import unicodedata

_SPECIAL = {
    "[": "{[}",  # a row that began with a bracket would be read as the argument of the line break before it
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
}
_SYMBOLS = {
    "–": "--",
    "—": "---",
    "‐": "-",
    "‑": "-",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "‖": r"\ensuremath{\|}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "°": r"\textdegree{}",
    "µ": r"\ensuremath{\mu}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}",
    "≠": r"\ensuremath{\neq}",
    "≈": r"\ensuremath{\approx}",
    "→": r"\ensuremath{\rightarrow}",
    "←": r"\ensuremath{\leftarrow}",
    "∞": r"\ensuremath{\infty}",
    "−": r"\ensuremath{-}",
    "Δ": r"\ensuremath{\Delta}",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_ACCENTS = {
    "\u0300": r"\`",
    "\u0301": r"\'",
    "\u0302": r"\^",
    "\u0303": r"\~",
    "\u0304": r"\=",
    "\u0306": r"\u",
    "\u0307": r"\.",
    "\u0308": r"\"",
    "\u030a": r"\r",
    "\u030b": r"\H",
    "\u030c": r"\v",
    "\u0323": r"\d",
    "\u0327": r"\c",
    "\u0328": r"\k",
}
_GREEK = {
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"),
    *("nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
}
_GREEK_CAPITALS = {"gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega"}


def escape(text: str) -> str:
    """``text`` as ASCII LaTeX that prints the same characters.

    Letters with accents become accent commands and Greek letters maths, so that the result does not depend on the
    engine or the font; a character outside of these is printed as its code point, ``[U+65B9]``, never dropped.
    Line breaks and runs of white space become one space.
    """
    return "".join(_character(char) for char in unicodedata.normalize("NFC", " ".join(text.split())))


def comment(text: str) -> str:
    """``text`` for a LaTeX comment: one line, ASCII."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()


def label(text: str) -> str:
    """``text`` as a LaTeX label or file name: lower-case ASCII letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", text.lower())
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in plain)
    return "-".join(part for part in kept.split("-") if part) or "table"


def _character(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if char.isascii():
        return char if char.isprintable() else _code_point(char)
    if char in _SYMBOLS:
        return _SYMBOLS[char]
    return _greek(char) or _accented(char) or _code_point(char)


def _code_point(char: str) -> str:
    return f"{{[}}U+{ord(char):04X}]"


def _greek(char: str) -> str:
    name = unicodedata.name(char, "").lower().split()
    if name[:3] not in (["greek", "small", "letter"], ["greek", "capital", "letter"]) or len(name) != 4:
        return ""
    letter = "lambda" if name[3] == "lamda" else name[3]
    if name[1] == "small" and letter in _GREEK:
        return rf"\ensuremath{{\{letter}}}"
    return rf"\ensuremath{{\{letter.capitalize()}}}" if letter in _GREEK_CAPITALS else ""


def _accented(char: str) -> str:
    decomposed = unicodedata.normalize("NFD", char)
    if len(decomposed) != 2 or not decomposed[0].isascii() or decomposed[1] not in _ACCENTS:
        return ""
    return f"{_ACCENTS[decomposed[1]]}{{{decomposed[0]}}}"
