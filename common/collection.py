"""The garbage collector, where thousands of small objects are made at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause the garbage collector: with thousands of records in the making it goes over all of them again and again.

    Blocks may be nested; the outermost one starts it again, if it was running. What was made in it is expected to stay:
    it joins the oldest objects at once, so that no collection of young ones goes over it.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            if not gc.get_freeze_count():  # else others have frozen objects that are to stay so
                gc.freeze()
                gc.unfreeze()  # into the oldest generation
            gc.enable()


@contextmanager
def young_collection() -> Iterator[None]:
    """Collect once at the end, and of what was made in here alone: what is there before, modules above all, stays.

    For a stretch that makes objects by the hundred thousand, which refer to each other, and then drops them.
    """
    gc.freeze()
    try:
        with no_collection():
            yield
        gc.collect()
    finally:
        gc.unfreeze()
