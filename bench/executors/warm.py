"""Imported by the fork server after all else: what every worker would find out anew is found out once, and inherited.

Only what cannot change while the server lives: versions of installed packages, the processor, thread pools, and the
hashes of modules that are loaded already. What may change meanwhile, such as the commit or devices, each worker looks
up. Parts that runs are made of are hashed as they lie on disk: a worker, which has the newest, hashes those again that
have another content by then.
"""

from __future__ import annotations

import contextlib
import gc
import os

from spectral_bench.bench.code.fingerprint import fingerprint, hash_loaded
from spectral_bench.bench.measure.environment import look_up_for_good
from spectral_bench.methods.threads import blas_pools

PARTS_VARIABLE = "SPECTRAL_BENCH_PARTS"
"""Names the modules of methods, data sets and backbones of a launch, with blanks between them."""

with contextlib.suppress(Exception):  # whoever needs it meets the same trouble, and tells it
    hash_loaded()
    fingerprint(os.environ.get(PARTS_VARIABLE, "").split())
    look_up_for_good()
    blas_pools()
gc.collect()
gc.freeze()  # else each worker's collections walk through all that is loaded, and so copy it page by page
