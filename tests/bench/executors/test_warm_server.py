"""What the fork server finds out once, so that no worker does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.local import PRELOAD, _parts
from spectral_bench.bench.work.order import read_order

ASK = """
import gc, importlib, json, os
*heavy, warm = {preload!r}
for name in heavy:
    importlib.import_module(name)

def found():
    from spectral_bench.bench.code import fingerprint
    from spectral_bench.bench.code.records import code_of_run
    from spectral_bench.bench.measure import environment
    parsed = []
    parse = fingerprint.ast.parse
    fingerprint.ast.parse = lambda source, filename: parsed.append(filename) or parse(source, filename=filename)
    code = code_of_run("kmeans", "synthetic", ["synthetic"], "efficientnet_lite0")
    looked_up = environment._packages.cache_info().currsize
    return [[name.rpartition("/")[2] for name in parsed], code, looked_up, gc.get_freeze_count()]

for names, parts in (([], ""), ([warm], ""), ([warm], "spectral_bench.methods.kmeans")):
    if os.fork() == 0:  # each goes on from the heavy imports
        os.environ["SPECTRAL_BENCH_PARTS"] = parts
        for name in names:
            importlib.import_module(name)
        print(json.dumps(found()), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""
Found = tuple[list[str], list[Any], int, int]
"""Files that a worker parsed, the code of a run, how often packages were looked up, and what was frozen."""


@pytest.fixture(scope="module")
def asked() -> list[Found]:
    """What a worker finds: without the last import of the server, with it, and where a launch named its parts."""
    *_, warm = PRELOAD
    assert warm == "spectral_bench.bench.executors.warm"
    done = subprocess.run([sys.executable, "-c", ASK.format(preload=PRELOAD)], check=True, capture_output=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_worker_hashes_only_what_it_loads_itself_and_finds_the_same(asked: list[Found]) -> None:
    (plainly, expected, not_yet, none), (parsed, code, looked_up, frozen), _ = asked
    assert code == expected
    assert set(parsed) < set(plainly)
    assert "kmeans.py" in parsed  # of methods a worker has the newest
    assert len(parsed) <= 20 < len(plainly)
    assert (looked_up, not_yet, none) == (1, 0, 0)
    assert frozen > 0


@pytest.mark.slow
def test_parts_of_a_launch_are_hashed_for_all_workers_unless_they_change(asked: list[Found]) -> None:
    _, (without, expected, *_), (parsed, code, *_) = asked
    assert "kmeans.py" in without
    assert "kmeans.py" not in parsed
    assert code == expected


def test_a_launch_names_the_shipped_parts_of_its_jobs(make_order: Any, tmp_path: Path) -> None:
    jobs = []
    for method, seed in (("kmeans", 0), ("kmeans", 1), ("nystrom", 0), ("mine.py:Mine", 0)):
        order = read_order(make_order(seed))
        order = order.model_copy(update={"spec": order.spec.model_copy(update={"method": method})})
        path = tmp_path / f"{method}-{seed}.json".replace(":", "")
        path.write_text(order.model_dump_json())
        jobs.append(Job(f"{method}-s{seed}-0", path))
    jobs.append(Job("lost-s0-0", tmp_path / "none.json"))
    names = [name.removeprefix("spectral_bench.") for name in _parts(jobs)]
    assert [name for name in names if name.startswith("methods.")] == ["methods.kmeans", "methods.nystrom.method"]
    assert not [name for name in names if "mine" in name]
