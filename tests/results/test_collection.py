"""The garbage collector is paused for a block, and runs again after it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from spectral_bench.common.collection import importing, no_collection, young_collection


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


def test_what_an_import_makes_is_old_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_for_collection.py").write_text("held = [{} for _ in range(3)]")
    with importing():
        import made_for_collection
    assert any(one is made_for_collection.held for one in gc.get_objects(generation=2))
    with importing():
        made = [{} for _ in range(3)]
    assert any(one is made for one in gc.get_objects(generation=0)), "a block without an import only pauses"
    assert gc.isenabled()


def test_what_others_have_frozen_stays_frozen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_while_frozen.py").touch()
    gc.freeze()
    with importing():
        import made_while_frozen  # noqa: F401
    assert gc.get_freeze_count()


@pytest.mark.parametrize("block", [no_collection, young_collection])
def test_garbage_of_many_blocks_is_collected(block: Callable[[], AbstractContextManager[None]]) -> None:
    class Ring:
        def __init__(self) -> None:
            self.itself = self

    made: list[weakref.ref[Ring]] = []
    for _ in range(100):
        with block():
            made.extend(weakref.ref(Ring()) for _ in range(100))
        [[] for _ in range(1000)]  # what sets off a collection of young objects
    assert sum(ring() is not None for ring in made) < 2000
