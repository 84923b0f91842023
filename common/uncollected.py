"""Imported by a fork server before all else: imports without garbage collection, until ``bench.executors.warm``.

What a server imports stays, some 600 000 objects by torch and timm, and the collector would walk through all of them
again and again as they become more: a quarter of the CPU time of these imports.
"""

from __future__ import annotations

import gc

gc.disable()
