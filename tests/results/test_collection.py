"""The garbage collector is paused for a block, and runs again after it."""

from __future__ import annotations

import gc

import pytest

from spectral_bench.common.collection import no_collection


def test_paused_in_nested_blocks_until_the_outermost_ends() -> None:
    with no_collection():
        with no_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_runs_again_after_an_error() -> None:
    with pytest.raises(KeyError), no_collection():
        raise KeyError
    assert gc.isenabled()
