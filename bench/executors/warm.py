"""Imported by the fork server after all else: what every worker would find out anew is found out once, and inherited.

Only what cannot change while the server lives: versions of installed packages, the processor, and the hashes of modules
that are loaded already. What may change meanwhile, such as the commit or devices, each worker looks up.
"""

from __future__ import annotations

import contextlib
import gc

from spectral_bench.bench.code.fingerprint import hash_loaded
from spectral_bench.bench.measure.environment import look_up_for_good

with contextlib.suppress(Exception):  # whoever needs it meets the same trouble, and tells it
    hash_loaded()
    look_up_for_good()
gc.collect()
gc.freeze()  # else each worker's collections walk through all that is loaded, and so copy it page by page
