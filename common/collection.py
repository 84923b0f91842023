"""The garbage collector, where thousands of small objects are made at once."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_FROZEN = gc.get_freeze_count()  # by Python itself, which from 3.12 on starts with some


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause the garbage collector: with thousands of records in the making it goes over all of them again and again.

    Blocks may be nested; the outermost one starts it again, if it was running.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """Pause the garbage collector while modules are imported, and let them join the oldest objects at once.

    Modules stay, and there are hundreds of thousands of objects in torch's: collections of young objects would go over
    all of them. A block that imports nothing, or within which others have frozen objects, does no more than pause.
    """
    running, modules = gc.isenabled(), len(sys.modules)
    with no_collection():
        yield
        if running and len(sys.modules) > modules and gc.get_freeze_count() <= _FROZEN:
            gc.freeze()
            gc.unfreeze()  # into the oldest generation


@contextmanager
def young_collection() -> Iterator[None]:
    """Collect once at the end, and of what was made in here alone: what is there before, modules above all, stays.

    For a stretch that makes objects by the hundred thousand, which refer to each other, and then drops them.
    """
    with no_collection():
        yield
        gc.collect(0)
