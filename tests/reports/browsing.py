"""A real browser, whose pages say on the console what they found: no span of time decides anything."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr"
)
PATIENCE = 240  # seconds: a browser that starts cold on a loaded machine; it is ended once it has spoken
SPOKEN = "found: "
SAY = 'const say = (found) => console.log("found: " + encodeURIComponent(JSON.stringify(found)));'


@contextmanager
def console(page: Path, profile: Path, patience: float = PATIENCE) -> Iterator[Iterator[str]]:
    """The lines of the console of a page, one by one, until the block ends or nothing comes for too long."""
    command = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={profile}", page.as_uri()]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as browser:
        watch = threading.Timer(patience, browser.kill)
        watch.start()
        assert browser.stderr is not None
        try:
            yield (line for line in browser.stderr if "CONSOLE" in line)
        finally:
            watch.cancel()
            browser.kill()


def told(line: str) -> dict[str, Any] | None:
    """What a line of the console tells that a page says by ``SAY``; None for any other line."""
    if SPOKEN not in line:
        return None
    found = json.loads(unquote(line.split(SPOKEN)[1].split('"')[0]))
    assert isinstance(found, dict)
    return found
