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
import gc, importlib, json, os, sys
*heavy, warm = {preload!r}
for name in heavy:
    importlib.import_module(name)
walked = gc.get_stats()[2]["collections"]

def found(method):
    from spectral_bench.bench.code import fingerprint
    from spectral_bench.bench.code.records import code_of_run
    from spectral_bench.bench.measure import environment
    parsed = []
    parse = fingerprint.ast.parse
    fingerprint.ast.parse = lambda source, filename: parsed.append(filename) or parse(source, filename=filename)
    loaded = set(sys.modules)
    code = code_of_run(method, "synthetic", ["synthetic"], "efficientnet_lite0")
    looked_up = environment._packages.cache_info().currsize
    foreign = sorted(name for name in set(sys.modules) - loaded if not name.startswith("spectral_bench."))
    collects = gc.isenabled(), walked
    return [[name.rpartition("/")[2] for name in parsed], code, looked_up, gc.get_freeze_count(), collects, foreign]

KMEANS, NEURALEF = "spectral_bench.methods.kmeans", "spectral_bench.methods.neuralef.method"
for names, parts, method in (
    ([], "", "kmeans"), ([warm], "", "kmeans"), ([warm], KMEANS, "kmeans"), ([warm], NEURALEF, "neuralef")
):
    if os.fork() == 0:  # each goes on from the heavy imports
        os.environ["SPECTRAL_BENCH_PARTS"] = parts
        for name in names:
            importlib.import_module(name)
        print(json.dumps(found(method)), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""
Found = tuple[list[str], list[Any], int, int, tuple[bool, int], list[str]]
"""What a worker found.

Files that it parsed, the code of a run, how often packages were looked up, how many objects are frozen, whether garbage
is collected and how often all of it was before, and modules of others that it had to import.
"""


@pytest.fixture(scope="module")
def asked() -> list[Found]:
    """What a worker finds: without the last import of the server, with it, and twice where a launch named its parts."""
    *_, warm = PRELOAD
    assert warm == "spectral_bench.bench.executors.warm"
    done = subprocess.run([sys.executable, "-c", ASK.format(preload=PRELOAD)], check=True, capture_output=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_worker_hashes_only_what_it_loads_itself_and_finds_the_same(asked: list[Found]) -> None:
    (plainly, expected, not_yet, none, *_), (parsed, code, looked_up, frozen, *_), *_ = asked
    assert code == expected
    assert set(parsed) < set(plainly)
    assert "kmeans.py" in parsed  # of methods a worker has the newest
    assert len(parsed) <= 20 < len(plainly)
    assert (looked_up, not_yet, none) == (1, 0, 0)
    assert frozen > 0


@pytest.mark.slow
def test_parts_of_a_launch_are_hashed_for_all_workers_unless_they_change(asked: list[Found]) -> None:
    _, (without, expected, *_), (parsed, code, *_), _ = asked
    assert "kmeans.py" in without
    assert "kmeans.py" not in parsed
    assert code == expected


@pytest.mark.slow
def test_what_the_server_imports_is_never_walked_through_and_garbage_is_collected_again(asked: list[Found]) -> None:
    first, *others = [collects for *_, collects, _ in asked]
    assert first == [False, 0]  # before the last import of the server: not collected, and not once so far
    assert others == [[True, 0]] * 3


@pytest.mark.slow
def test_a_worker_imports_nothing_of_others(asked: list[Found]) -> None:
    *_, of_kmeans, of_neuralef = asked
    assert of_kmeans[-1] == of_neuralef[-1] == []


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
