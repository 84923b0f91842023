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
import importlib, json, gc, os
os.environ["SPECTRAL_BENCH_PARTS"] = {parts!r}
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


def asked(preload: tuple[str, ...], parts: str = "") -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(preload=preload, parts=parts)], check=True, capture_output=True
    )
    found: list[object] = json.loads(done.stdout)
    return found


@pytest.mark.slow
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


@pytest.mark.slow
def test_parts_of_a_launch_are_hashed_for_all_workers_unless_they_change() -> None:
    parsed, code, *_ = asked(PRELOAD, "spectral_bench.methods.kmeans")
    _, expected, *_ = asked(PRELOAD)
    assert "kmeans.py" not in parsed  # type: ignore[operator]
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
