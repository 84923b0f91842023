"""Digests of old and new records are compared as far as both tell."""

from __future__ import annotations

import pytest

from spectral_bench.common.digests import apart, joined, tells_contents


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (joined("s", "c"), joined("s", "c"), False),
        (joined("s", "c"), joined("s", "d"), True),
        (joined("s", "c"), joined("t", "c"), True),
        ("s", joined("s", "c"), False),
        ("t", joined("s", "c"), True),
        ("s", "t", True),
        ("synthetic-1-val-64", "synthetic-2-val-64", True),
        (joined("s", "c", "png"), joined("s", "c", "png"), False),
        (joined("s", "c", "png"), joined("s", "d", "png"), True),
        (joined("s", "c", "png"), joined("t", "d", "mat"), False),
    ],
)
def test_files_are_another_where_what_both_digests_tell_differs(one: str, other: str, differ: bool) -> None:
    assert apart(one, other) is apart(other, one) is differ


def test_a_digest_of_an_earlier_release_tells_no_contents() -> None:
    assert tells_contents(joined("s", "c", "png"))
    assert not tells_contents("s")
