"""Digests of the files of a split: how they are written, and when two of them speak of other files.

A digest has up to three parts, ``[form:]sizes[+contents]``:

* ``form``: where the same data can lie in files of several forms, the form, such as ``png``;
* ``sizes``: over ids and sizes of the files, all that records of earlier releases hold;
* ``contents``: over ids and contents, or over times of change where there are too many files to be read.
"""

from __future__ import annotations


def joined(sizes: str, contents: str, form: str = "") -> str:
    """A digest of its parts."""
    return f"{form}:{sizes}+{contents}" if form else f"{sizes}+{contents}"


def apart(one: str, other: str) -> bool:
    """Whether two digests show that their files differ.

    The parts that both have are compared, so that a digest of sizes alone says nothing of contents. Of files in two
    forms neither digest tells whether they say the same.
    """
    form, one = _without_form(one)
    other_form, other = _without_form(other)
    if form != other_form:
        return not (form and other_form)
    return any(a != b for a, b in zip(one.split("+"), other.split("+"), strict=False))


def tells_contents(digest: str) -> bool:
    """Whether a digest tells contents, not names and sizes alone."""
    return "+" in digest


def _without_form(digest: str) -> tuple[str, str]:
    form, colon, rest = digest.partition(":")
    return (form, rest) if colon else ("", digest)
