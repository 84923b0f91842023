from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spectral_bench.common.errors import StoreError
from spectral_bench.results.claims import Busy, claim, is_claimed, owner

HOLDER = """
import sys, time
from pathlib import Path
from spectral_bench.results.claims import claim
with claim(Path(sys.argv[1]), job="77"):
    print("held", flush=True)
    {body}
"""


@contextmanager
def holder(folder: Path, body: str = "time.sleep(600)") -> Iterator[subprocess.Popen[str]]:
    """A process that owns ``folder``."""
    command = [sys.executable, "-c", HOLDER.format(body=body), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_owner_signs_and_leaves_nothing_but_the_lock_file(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert not is_claimed(folder)
    with claim(folder, job="12"):
        assert is_claimed(folder)
        assert owner(folder)["pid"] == os.getpid()
        assert owner(folder)["job"] == "12"
    assert not is_claimed(folder)
    assert owner(folder) == {}
    assert [path.name for path in folder.iterdir()] == ["claim.lock"]


def test_second_claim_of_the_same_process_is_busy(tmp_path: Path) -> None:
    with claim(tmp_path), pytest.raises(Busy), claim(tmp_path):
        raise AssertionError
    with claim(tmp_path):
        pass


def test_body_error_passes_through_and_frees(tmp_path: Path) -> None:
    with pytest.raises(KeyError), claim(tmp_path):
        raise KeyError
    assert not is_claimed(tmp_path)


def test_other_process_is_named_and_answered_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with holder(tmp_path) as process:
        assert is_claimed(tmp_path)
        waits, sleep = [], time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: waits.append(seconds) or sleep(seconds))
        with pytest.raises(Busy, match=rf"claimed by process {process.pid} on .+ since 20") as caught, claim(tmp_path):
            raise AssertionError
        assert sum(waits) < 1
        assert caught.value.owner["job"] == "77"


def test_claim_dies_with_its_process(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / "claim.json").exists()
        assert not is_claimed(tmp_path)
        with claim(tmp_path):
            assert owner(tmp_path)["pid"] == os.getpid()


def test_stopped_process_is_still_the_owner(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        assert is_claimed(tmp_path)


def test_forked_helpers_do_not_outlive_the_claim(tmp_path: Path) -> None:
    """A killed worker may leave a data-loading process behind; that must not keep the run claimed."""
    body = "import os; child = os.fork(); print(child or 0, flush=True) if child else None; time.sleep(600)"
    with holder(tmp_path, body) as process:
        assert process.stdout is not None
        helper = int(process.stdout.readline())
        try:
            process.kill()
            process.wait()
            end = time.monotonic() + 300  # the helper lets go as soon as it gets to run
            while is_claimed(tmp_path) and time.monotonic() < end:
                time.sleep(0.01)
            assert not is_claimed(tmp_path)
            os.kill(helper, 0)
        finally:
            os.kill(helper, signal.SIGKILL)


def test_forked_child_that_leaves_the_block_frees_nothing(tmp_path: Path) -> None:
    held = claim(tmp_path)
    held.__enter__()
    child = os.fork()
    if child == 0:
        try:
            held.__exit__(None, None, None)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert is_claimed(tmp_path)
    assert owner(tmp_path)["pid"] == os.getpid()
    held.__exit__(None, None, None)
    assert not is_claimed(tmp_path)


def test_probing_never_takes_a_claim_from_an_owner(tmp_path: Path) -> None:
    """Watchers ask all the time; an owner that comes at the same moment must not be sent away."""
    body = (
        "import os, fcntl, time\n"
        "    from spectral_bench.results.claims import is_claimed\n"
        "    other = Path(sys.argv[1]).parent / 'probed'\n"
        "    is_claimed(other)\n"
        "    print('probing', flush=True)\n"
        "    while True: is_claimed(other)"
    )
    probed = tmp_path / "probed"
    with holder(tmp_path / "watcher", body) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "probing\n"
        for _ in range(300):
            with claim(probed):
                pass
        assert process.poll() is None


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(StoreError, match=r"claim\.lock: this file system has no locks .+ where flock works"),
        claim(tmp_path),
    ):
        raise AssertionError
    (tmp_path / "claim.json").write_text("{}")
    with pytest.raises(StoreError, match="no locks"):
        is_claimed(tmp_path)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match=r"file/run: cannot be written \(Not a directory\)"),
        claim(tmp_path / "file" / "run"),
    ):
        raise AssertionError


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_torn_signature_says_nothing(tmp_path: Path, text: str) -> None:
    with claim(tmp_path):
        (tmp_path / "claim.json").write_text(text)
        assert owner(tmp_path) == {}
        with pytest.raises(Busy, match=r"claimed$"), claim(tmp_path):
            raise AssertionError
