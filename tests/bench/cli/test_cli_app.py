from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_lab import Bench

from spectral_bench.bench.cli.commands import COMMANDS, LazyGroup, load_command

ROOT = Path(__file__).parents[3]
LEAVES = [
    *([command] for command in COMMANDS if command not in ("list", "data", "logs", "cancel", "retry")),
    *(["list", noun] for noun in ("methods", "datasets", "backbones", "protocols")),
    ["data", "verify"],
    ["data", "prepare"],
]


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=environment, timeout=600, check=False
    )


def test_the_front_page_lists_every_command(bench: Bench) -> None:
    for result in (bench("--help"), bench()):
        assert result.code == 0
        assert all(f"  {command} " in result.out for command in COMMANDS)


@pytest.mark.parametrize("group", [[], ["data"]], ids=["bench", "data"])
def test_lists_of_commands_have_whole_sentences_in_80_columns(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, group: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = bench(*group, "--help").out
    assert "..." not in out.partition("Commands:")[2]
    assert max(map(len, out.splitlines())) <= 80
    if not group:
        assert all(home.help in " ".join(out.split()) for home in COMMANDS.values())


@pytest.mark.parametrize("command", LEAVES, ids=" ".join)
def test_every_command_explains_itself(bench: Bench, command: list[str]) -> None:
    result = bench(*command, "--help")
    assert result.code == 0
    assert "Usage: bench " + " ".join(command) in result.out
    assert "--debug" in result.out


STORE_ALONE = (["logs"], ["cancel"], ["retry"])
NEITHER = (["cluster"], ["data", "init"], ["data", "text"], ["check-backbone"])


@pytest.mark.parametrize(
    "command", [leaf for leaf in [*LEAVES, *STORE_ALONE, *NEITHER[1:3]] if leaf != ["version"]], ids=" ".join
)
def test_commands_take_store_and_data_roots_but_for_those_that_the_page_names(bench: Bench, command: list[str]) -> None:
    out = bench(*command, "--help").out
    assert ("--out" in out, "--data-root" in out) == (command not in NEITHER, command not in (*STORE_ALONE, *NEITHER))
    page = " ".join((ROOT / "docs" / "cli.md").read_text(encoding="utf-8").split())
    sentence = page.partition("Commands take `--out DIR`")[2].partition(" neither. ")[0]
    assert (f"`{' '.join(command)}`" in sentence) == (command in (*STORE_ALONE, *NEITHER))


@pytest.mark.parametrize("command", [leaf for leaf in LEAVES if leaf not in (["run"], ["version"])], ids=" ".join)
def test_every_query_offers_json(bench: Bench, command: list[str]) -> None:
    assert "--json" in bench(*command, "--help").out


def test_version(bench: Bench) -> None:
    result = bench("version")
    assert result.code == 0
    assert result.out.startswith("spectral-segmentation-bench ")


GRIDS = ("run", "plan", "status", "report")
"""Commands that take a grid as an argument and as an option."""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rum"], 'unknown command "rum"; did you mean "run"?'),
        (["list"], "bench list: expected one of its commands; valid: methods, datasets, backbones, protocols"),
        (["data"], "bench data: expected one of its commands; valid: init, verify, prepare"),
        (["list", "method"], 'unknown command "method"; did you mean "methods"?'),
        (["plan"], "expected a grid, a YAML file: bench plan GRID.yaml"),
        (["run", "--out", "o"], "expected a grid, a YAML file: bench run GRID.yaml"),
        (["plan", "--grd", "x"], "No such option: --grd"),
        (["run", "--grid", "g.yaml", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["run", "--grid", "g.yaml", "--threads", "many"], "Invalid value for '--threads'"),
        (["plan", "g.yaml", "extra"], "unexpected extra argument"),
        *(
            ([name, "a.yaml", "--grid", "b.yaml"], "--grid b.yaml: the grid is given already, as a.yaml")
            for name in GRIDS
        ),
    ],
)
def test_a_wrong_command_line_is_one_error_line(bench: Bench, arguments: list[str], says: str) -> None:
    result = bench(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert len(result.errors) == 1
    assert result.err.startswith("error: ")
    assert says in result.err


def test_debug_shows_the_traceback(bench: Bench) -> None:
    from spectral_bench.common.errors import ConfigError

    with pytest.raises(ConfigError, match="no such file"):
        bench("plan", "--grid", "gone.yaml", "--debug")


def test_ctrl_c_outside_of_the_runs_is_no_traceback(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spectral_bench.bench.cli.plan.load_grid", interrupt)
    result = bench("plan", "--grid", "g.yaml")
    assert result.code == 1
    assert "the same command goes on" in result.err


def test_a_file_that_leaves_is_no_success(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nsys.exit(0)\n")
    for command in ("check-method", "check-backbone"):
        result = bench(command, f"{tmp_path / 'mine.py'}:Mine")
        assert (result.code, result.out) == (2, "")
        assert result.err == "error: a file that was loaded called sys.exit(0); --debug shows where\n"
        with pytest.raises(RuntimeError, match=r"called sys\.exit"):
            bench(command, f"{tmp_path / 'mine.py'}:Mine", "--debug")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_of_each_what_its_own_help_says(name: str) -> None:
    assert LazyGroup().commands[name].get_short_help_str(200) == load_command(name).get_short_help_str(200)


@pytest.mark.parametrize(
    ("command", "loaded"),
    [("", ""), ("list", "listing"), ("predict", "masks"), ("run", "plan run slurm"), ("plan", "plan")],
)
def test_only_the_module_of_the_command_is_imported(command: str, loaded: str) -> None:
    modules = sorted({home.place.partition(":")[0] for home in COMMANDS.values()})
    code = (
        "import sys; from spectral_bench.bench.cli.commands import run_command_line as run; "
        f"run('{command} --help'.split()); names = {modules}; "
        "sys.stderr.write(' '.join(m for m in names if f'spectral_bench.bench.cli.{m}' in sys.modules))"
    )
    assert python("-c", code).stderr == loaded


def test_no_help_imports_torch() -> None:
    code = (
        "import sys; from spectral_bench.bench.cli.commands import run_command_line as run; "
        f"[run([name, '--help']) for name in {list(COMMANDS)}]; "
        "sys.stderr.write('torch' if 'torch' in sys.modules else 'light')"
    )
    assert python("-c", code).stderr == "light"


def test_plan_and_list_import_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from spectral_bench.bench.cli.commands import run_command_line as run; "
        f"run(['plan', '--grid', 'ablations.yaml', '--out', {str(tmp_path / 'o')!r}]); "
        "run(['list', 'methods']); "
        "sys.stderr.write('torch' if 'torch' in sys.modules else 'light')"
    )
    assert python("-c", code).stderr == "light"


def test_the_list_of_commands_loads_no_executor_and_no_arrays() -> None:
    heavy = ("numpy", "pydantic", "spectral_bench.bench.executors", "spectral_bench.bench.plan")
    code = (
        "import sys; from spectral_bench.bench.cli.commands import run_command_line as run; run(['--help']); "
        f"sys.stderr.write(' '.join(name for name in {heavy} if name in sys.modules))"
    )
    assert python("-c", code).stderr == ""


def test_a_launch_and_its_tables_import_nothing_that_others_need() -> None:
    heavy = ["torch", "timm", "pandas", "matplotlib", "scipy.stats", "scipy.optimize", "scipy.sparse", "submitit"]
    code = (
        "import sys; from spectral_bench.bench.cli.commands import load_command; load_command('run'); "
        f"import spectral_bench.reports; print([name for name in {heavy} if name in sys.modules])"
    )
    assert python("-c", code).stdout == "[]\n"


def test_the_module_and_its_exit_code(tmp_path: Path) -> None:
    found = python("-m", "bench", "plan", "--grid", "gone.yaml", cwd=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (2, "", "error: gone.yaml: no such file\n")


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    command = f"{sys.executable} -m bench list backbones | head -1"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    assert found.stdout == "efficientnet_lite0\n"
    assert "Traceback" not in found.stderr
