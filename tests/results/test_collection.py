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


def test_what_was_made_is_old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)
    with no_collection():
        made = [{} for _ in range(3)]
        assert any(one is made for one in gc.get_objects(generation=0))
    assert any(one is made for one in gc.get_objects(generation=2))


def test_what_others_have_frozen_stays_frozen() -> None:
    gc.freeze()
    with no_collection():
        pass
    assert gc.get_freeze_count()
