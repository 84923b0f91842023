"""What the fork server finds out once, so that no worker does."""

from __future__ import annotations

import json
import subprocess
import sys

from spectral_bench.bench.executors.local import PRELOAD

ASK = """
import importlib, json, gc
for name in {preload!r}:
    importlib.import_module(name)
from spectral_bench.bench.code import fingerprint
from spectral_bench.bench.code.records import code_of_run
from spectral_bench.bench.measure import environment
parsed = []
parse = fingerprint.ast.parse
fingerprint.ast.parse = lambda source, filename: parsed.append(filename) or parse(source, filename=filename)
code = code_of_run("kmeans", "synthetic", ["synthetic"], "efficientnet_lite0")
looked_up = environment._packages.cache_info().currsize
print(json.dumps([[name.rpartition("/")[2] for name in parsed], code, looked_up, gc.get_freeze_count()]))
"""


def asked(preload: tuple[str, ...]) -> list[object]:
    done = subprocess.run([sys.executable, "-c", ASK.format(preload=preload)], check=True, capture_output=True)
    found: list[object] = json.loads(done.stdout)
    return found


def test_a_worker_hashes_only_what_it_loads_itself_and_finds_the_same() -> None:
    *rest, warm = PRELOAD
    assert warm == "spectral_bench.bench.executors.warm"
    parsed, code, looked_up, frozen = asked(PRELOAD)
    plainly, expected, not_yet, none = asked(tuple(rest))
    assert code == expected
    assert isinstance(parsed, list)
    assert isinstance(plainly, list)
    assert set(parsed) < set(plainly)
    assert "kmeans.py" in parsed  # of methods a worker has the newest
    assert len(parsed) <= 20 < len(plainly)
    assert (looked_up, not_yet, none) == (1, 0, 0)
    assert isinstance(frozen, int)
    assert frozen > 0
