from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from spectral_bench.common.errors import StoreError
from spectral_bench.common.locks import Taken, exclusive, hold, is_held


def test_exclusive_waits_for_its_turn(tmp_path: Path) -> None:
    code = (
        "import sys, json; from pathlib import Path; from spectral_bench.common.locks import exclusive\n"
        "file = Path(sys.argv[1])\n"
        "for _ in range(20):\n"
        "    with exclusive(file.with_suffix('.lock')):\n"
        "        file.write_text(json.dumps(json.loads(file.read_text()) + 1))\n"
    )
    counter = tmp_path / "counter"
    counter.write_text("0")
    many = [subprocess.Popen([sys.executable, "-c", code, str(counter)]) for _ in range(3)]
    assert [process.wait() for process in many] == [0, 0, 0]
    assert json.loads(counter.read_text()) == 60


def test_exclusive_gives_up_with_a_clear_line(tmp_path: Path) -> None:
    lock, message = tmp_path / "lock", r"lock: still locked .+ after 0\.05 s"
    with exclusive(lock), pytest.raises(StoreError, match=message), exclusive(lock, wait=0.05):
        raise AssertionError


HOLDER = """
import sys, time
from pathlib import Path
from spectral_bench.common.locks import hold
with hold(Path(sys.argv[1]), wait=0):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_holder_lets_go_and_leaves_its_file(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_held(lock)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_held(lock)
        with pytest.raises(Taken), hold(lock, wait=0.05):
            raise AssertionError
        process.send_signal(signal.SIGKILL)
    assert not is_held(lock)
    with hold(lock, wait=0):
        assert is_held(lock)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_two_watchers_do_not_take_each_other_for_the_owner(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with lock.open() as watcher:
        fcntl.flock(watcher, fcntl.LOCK_SH)
        assert not is_held(lock)


def test_a_file_that_may_only_be_read_can_be_asked(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with hold(lock, wait=0):
        lock.chmod(0o444)
        assert is_held(lock)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_no_file_system_without_locks_is_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """filelock would fall back to a file that outlives a killed process where the kernel answers ENOSYS."""

    def flock(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(StoreError, match="lock: this file system has no locks"), hold(tmp_path / "lock", wait=0):
            raise AssertionError
