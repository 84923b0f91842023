from __future__ import annotations

import faulthandler
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from spectral_bench.bench.work.progress import into_log, say
from spectral_bench.common.errors import StoreError


def test_everything_goes_to_the_log_and_comes_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "run" / "log.txt"
    sys.stdout.write("before\n")
    with into_log(log):
        sys.stdout.write("out\n")
        sys.stderr.write("err\n")
        os.system("echo child")
        logging.getLogger("a.library").info("told")
        warnings.warn("careful", stacklevel=1)
        say("said")
    sys.stdout.write("after\n")
    text = log.read_text()
    places = [text.index(words) for words in ("out\n", "err\n", "child\n", "a.library: told\n", "careful", "said\n")]
    assert places == sorted(places)
    assert capfd.readouterr().out == "before\nafter\n"


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    with into_log(tmp_path / "log.txt"):
        sys.stdout.write("a line\n")
        assert (tmp_path / "log.txt").read_text() == "a line\n"


def test_appends(tmp_path: Path) -> None:
    for word in ("one", "two"):
        with into_log(tmp_path / "log.txt"):
            sys.stdout.write(f"{word}\n")
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"


def test_state_of_the_process_is_as_before(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), sys.stdout, sys.stderr, faulthandler.is_enabled())
    handles = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(KeyError), into_log(tmp_path / "log.txt"):
        raise KeyError
    assert (root.level, list(root.handlers), sys.stdout, sys.stderr, faulthandler.is_enabled()) == before
    assert len(list(Path("/proc/self/fd").iterdir())) == handles


def test_words_that_are_no_text_are_kept(tmp_path: Path) -> None:
    with into_log(tmp_path / "log.txt"):
        sys.stdout.write("\udce4 ä\n")
    assert (tmp_path / "log.txt").read_bytes() == "? ä\n".encode()


def test_log_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"log\.txt: cannot be written"), into_log(tmp_path / "file" / "log.txt"):
        raise AssertionError


def test_last_words_of_a_segmentation_fault(tmp_path: Path) -> None:
    code = (
        "import ctypes, sys; from pathlib import Path; from spectral_bench.bench.work.progress import into_log\n"
        "with into_log(Path(sys.argv[1])): ctypes.string_at(0)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "log.txt"], check=False)
    text = (tmp_path / "log.txt").read_text()
    assert "Fatal Python error: Segmentation fault" in text
    assert "string_at" in text


def test_saying_survives_a_full_disk() -> None:
    code = (
        "import os; from spectral_bench.bench.work.progress import say\n"
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 2); say('x'); print('on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "on\n")
