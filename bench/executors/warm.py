"""Imported by the fork server after all else: what every worker would find out anew is found out once, and inherited.

Only what cannot change while the server lives: versions of installed packages, the processor, thread pools, and the
hashes of modules that are loaded already. What may change meanwhile, such as the commit or devices, each worker looks
up. Parts that runs are made of are hashed as they lie on disk: a worker, which has the newest, hashes those again that
have another content by then.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os

from spectral_bench.bench.code.fingerprint import fingerprint, hash_loaded
from spectral_bench.bench.measure.environment import look_up_for_good
from spectral_bench.bench.measure.flops import releases
from spectral_bench.methods.threads import blas_pools

PARTS_VARIABLE = "SPECTRAL_BENCH_PARTS"
"""Names the modules of methods, data sets and backbones of a launch, with blanks between them."""

_NEEDED = {"methods.graphs.pixel_tree": "scipy.spatial"}
"""Slow imports of packages by our modules that no worker has yet when it starts."""

with contextlib.suppress(Exception):  # whoever needs it meets the same trouble, and tells it
    hash_loaded()
    parts = fingerprint(os.environ.get(PARTS_VARIABLE, "").split())
    for needed in (package for module, package in _NEEDED.items() if module in parts):
        importlib.import_module(needed)
    look_up_for_good()
    releases()
    blas_pools()
# Else each worker's collections walk through all that is loaded, and so copy it page by page. No collection before:
# what it freed would leave holes in pages that all workers share.
gc.freeze()
gc.enable()  # paused since `common.uncollected`
