"""A terminal or locale that lacks a sign gets a replacement, never a traceback."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spectral_bench.bench.cli.commands import run_command_line
from spectral_bench.bench.cli.output import set_up_streams, show_json, show_table
from spectral_bench.common.errors import ConfigError

ROOT = Path(__file__).parents[3]


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", write_through=True)


def written(text: io.TextIOWrapper) -> bytes:
    text.flush()
    return text.buffer.getvalue()  # type: ignore[attr-defined, no-any-return]


def streams(monkeypatch: pytest.MonkeyPatch, encoding: str) -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
    """Standard output and error of an encoding, set up as a command sets them up."""
    both = stream(encoding), stream(encoding)
    monkeypatch.setattr(sys, "stdout", both[0])
    monkeypatch.setattr(sys, "stderr", both[1])
    set_up_streams()
    return both


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"+ 45.1 +-0.4 -> d x? cafe \\xe9 ??"),
        ("cp1252", b"\x86 45.1 \xb10.4 -> d x? caf\xe9 \\xe9 ??"),
        ("utf-8", "† 45.1 ±0.4 → Δ x\u2603 café \\xe9 日本".encode()),
    ],
)
def test_signs_that_an_encoding_lacks_are_replaced(
    monkeypatch: pytest.MonkeyPatch, encoding: str, expected: bytes
) -> None:
    both = streams(monkeypatch, encoding)
    text = "† 45.1 ±0.4 → Δ x\u2603 café \udce9 日本"
    show_table(("row",), [(text,)])
    sys.stderr.write(text)
    for one in both:
        assert expected in written(one)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_loses_nothing(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    out, _ = streams(monkeypatch, encoding)
    value = {"path": "mä\udcff/日本.png", "mark": "†"}
    show_json(value)
    assert json.loads(written(out).decode(encoding)) == value


def test_a_reader_that_leaves_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``bench list methods | head -1``: nothing is said of it, and the exit code tells."""
    reader, writer = os.pipe()
    os.close(reader)
    errors = stream("utf-8")
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", errors)
        assert run_command_line(["list", "methods"]) == 1
    assert written(errors) == b""


def test_errors_and_failures_to_encode_are_said_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    _, errors = streams(monkeypatch, "ascii")
    assert run_command_line(["list", "mëthods"]) == 2
    assert b'error: unknown command "methods"' in written(errors)

    def fails(name: str) -> int:
        raise ConfigError("no ± here") if name == "config" else UnicodeEncodeError("ascii", "bä", 1, 2, "no such sign")

    for name, says in {"config": b"error: no +- here", "file": b"cannot be written in ascii, the encoding of"}.items():
        monkeypatch.setattr("spectral_bench.bench.cli.commands.app", lambda name=name, **_: fails(name))
        assert run_command_line(["status"]) == 2
        assert says in written(errors)
        assert b"Traceback" not in written(errors)


def plain_locale(encoding: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    return kept | plain | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


# Every help page and every command that needs no store, one after another in one process: imports take seconds.
EVERY_COMMAND = """
import sys
from spectral_bench.bench.cli.commands import app, run_command_line
from spectral_bench.bench.cli.commands import load_command
def every(group, path):
    yield [*path, "--help"]
    for name in getattr(group, "commands", {}):
        yield from every(load_command(name) if group is app else group.commands[name], [*path, name])
lines = list(every(app, []))
lines += [["list", kind] for kind in ("methods", "datasets", "backbones", "protocols")]
lines += [["list", "methods", name] for name in ("kmeans", "neuralef_label_leak")]
lines += [["list", "methods", "--json"], ["list", "protocols", "whole"], ["data", "verify", "synthetic"], ["version"]]
lines += [["plan", "--grid", "g.yaml"], ["plan", "--grid", "g.yaml", "--json"], ["status", "--out", "n\\u00f6"]]
for line in lines:
    code = run_command_line(line)
    assert code in (0, 2), (line, code)
print(len(lines), "lines")
"""


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_command_fails_in_a_plain_locale(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "g.yaml").write_text(
        "name: plain\nnote: ± † 日本\nruns:\n  - {method: linear_probe}\n  - {method: kmeans, params: {k: 4}}\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-c", EVERY_COMMAND],
        cwd=tmp_path,
        env=plain_locale(encoding),
        capture_output=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(encoding, "replace")
    out = done.stdout.decode(encoding)  # strict: nothing was written past the stream in another encoding
    assert int(out.split()[-2]) > 30
    mark = "+" if encoding == "ascii" else "†"
    assert f"linear_probe {mark}" in out
