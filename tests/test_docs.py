"""What the pages say of the code is there: paths, names, links, anchors, commands and their options."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from spectral_bench.bench.cli.commands import app
from spectral_bench.bench.grid.keys import RunSettings, SlurmSettings
from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.run_ids import resolve_rows
from spectral_bench.common.errors import UserError
from spectral_bench.methods.registry import names
from spectral_bench.results.specification import Matching
from spectral_bench.results.state import RunState

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PACKAGES = ("bench", "common", "datasets", "methods", "reports", "results")
FOLDERS = (*PACKAGES, "benchmarks", "docs", "examples", "grids", "tests")
NO_FILES = ("results/runs",)
"""What looks like a path of the project and is none: the default store."""
LONGEST_LINE = 100

GENERATED = re.compile(r"<!-- (study|classes): .*?<!-- end of \1 -->", re.DOTALL)  # benchmarks/study_page.py
FENCE = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```[ ]*$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MENTION = re.compile(r"docs/[\w-]+\.md(?:#[\w-]+)?")
DOTTED = re.compile(rf"(?:spectral_bench\.)?(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+(?=$|[(\s])")
PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./*-]*")
NAMED_IN = (
    re.compile(r"`(\w+)[^`]*`\s+(?:of|in)\s+`([\w/]+\.py)`"),
    re.compile(r"`(\w+)[^`]*`\s+\(`([\w/]+\.py)`\)"),
)


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", text)


def codes(text: str) -> list[str]:
    """What stands between backquotes in the prose of a page."""
    return [" ".join(code.split()) for code in CODE.findall(prose(text))]


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(path.read_text(encoding="utf-8")), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)


def broken_links(text: str, page: Path) -> Iterator[str]:
    """The links of a page to files and anchors that are not there."""
    for target in LINK.findall(prose(text)):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(path):
            yield f"{target}: no such heading"


def strange_paths(text: str) -> Iterator[str]:
    """The paths and the dotted names of the project that are not there."""
    for code in codes(text):
        for path in PATH.findall(code):
            within = code.find(path)
            own = within == 0 or code[within - 1] in " ={:'\""
            if own and not path.startswith(NO_FILES) and not any(ROOT.glob(path.rstrip("/."))):
                yield path
        if (found := DOTTED.match(code)) and not is_name(found[0]):
            yield found[0]
    for pattern in NAMED_IN:
        for name, path in pattern.findall(prose(text)):
            if not (ROOT / path).is_file() or not re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")):
                yield f"{name} in {path}"


def is_name(dotted: str) -> bool:
    """Whether a dotted name is a module, something that a module defines, or a group of entry points."""
    if f'"{dotted}"' in sources():
        return True
    parts = dotted.removeprefix("spectral_bench.").split(".")
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:length])
        if base.is_dir() and length == len(parts):
            return True
        file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            return all(re.search(rf"\b{part}\b", text) for part in parts[length:])
    return False


@cache
def sources() -> str:
    """The code of all packages."""
    files = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def commands(text: str) -> Iterator[str]:
    """What a page calls ``bench`` with, in blocks of shell code and in its prose."""
    for language, block in FENCE.findall(text):
        if language == "bash" and not block.startswith("#!"):
            yield from in_shell(block)
    known = app.list_commands(context(app))
    for code in codes(text):
        yield from in_shell(code)
        words = code.split()
        if words[0] in known and len(words) > 1 and words[1].startswith("--"):
            yield code


def in_shell(block: str) -> Iterator[str]:
    """What ``bench`` is called with in some lines of shell code."""
    variables = re.findall(r"^\s*(\w+)=\"([^\"$]*)\"$", block, re.MULTILINE)
    for line in block.splitlines():
        for name, value in variables:
            line = re.sub(rf"(?<!\")\${name}\b", lambda _, value=value: value, line)
        line = re.sub(r"\[(--[^]]*)\]", r"\1", line)  # what may be left out
        yield from re.findall(r"(?:^|[\s(])(?:python -m (?:spectral_bench\.)?)?bench\s+([^;|&)]+)", line)


def context(command: Any) -> Any:
    """What a command is parsed in."""
    return command.context_class(command, info_name=command.name)


def refusal(call: str) -> str:
    """Why the command line would not take a call; empty where it would. Values are not looked at."""
    words, command = shlex.split(call, comments=True), app
    while words and hasattr(command, "resolve_command"):
        try:
            _, command, words = command.resolve_command(context(command), words)
        except UserError as error:
            return str(error)
    parser = command.make_parser(context(command))
    for more in ([], ["1"]):  # in prose, the last option may stand without its value
        try:
            _, left, _ = parser.parse_args([*words, *more])
        except Exception as error:
            why = str(error) or type(error).__name__
        else:
            return f"nothing takes {left[0]}" if left else ""
    return why


def refused_commands(text: str) -> Iterator[str]:
    """The calls of ``bench`` that the command line would not take, with the reason."""
    for call in commands(text):
        if reason := refusal(call):
            yield f"bench {call}: {reason}"


def long_lines(text: str) -> Iterator[str]:
    """Lines of more than 100 characters. What another program wrote stays as it wrote it."""
    for _, block in FENCE.findall(text):
        if block.startswith("#!"):
            text = text.replace(block, "")
    text = GENERATED.sub("", text)
    for line in text.splitlines():
        if len(line) > LONGEST_LINE:
            yield f"{len(line)} characters: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert not list(broken_links(page.read_text(encoding="utf-8"), page))


def test_code_and_grids_name_pages_that_are_there() -> None:
    files = [*ROOT.glob("grids/**/*.yaml"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/*.py")]
    texts = [sources(), *(path.read_text(encoding="utf-8") for path in files)]
    named = {mention for text in texts for mention in MENTION.findall(text)}
    assert named
    links = " ".join(f"[page]({name})" for name in sorted(named))
    assert not list(broken_links(links, ROOT / "README.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_are_where_the_page_says(page: Path) -> None:
    assert not list(strange_paths(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page: Path) -> None:
    assert not list(refused_commands(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "page",
    [*DOCS, ROOT / "CONTRIBUTING.md"],
    ids=lambda page: page.name,
)
def test_lines_are_short(page: Path) -> None:
    assert not list(long_lines(page.read_text(encoding="utf-8")))


def test_the_glossary_is_in_order_and_short() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^## (.+)\n\n((?:.+\n)+)", text, re.MULTILINE)
    assert [term for term, _ in terms] == sorted((term for term, _ in terms), key=str.lower)
    assert not [term for term, meaning in terms if meaning.count("\n") > 2]


def text_of(name: str) -> str:
    """The text of a page of docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_every_method_and_matching_is_described() -> None:
    assert set(names()) <= set(codes(text_of("methods.md")))
    assert set(get_args(Matching)) <= set(codes(text_of("protocols.md")))


def test_every_state_is_described() -> None:
    states = re.findall(r"^\| ([a-z ]+) \|", text_of("grids.md").partition("## States")[2], re.MULTILINE)
    assert sorted(states) == sorted({"state", *(state.word.replace("_", " ") for state in RunState)})


def test_defaults_of_slurm_settings_are_as_described() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `?(\w*)`? \|", text_of("slurm.md"), re.MULTILINE)
    told = {key: default for key, default in rows if default and key in SlurmSettings.model_fields}
    assert {"gpus", "time", "requeues", "signal_delay"} <= told.keys()
    assert told == {key: str(SlurmSettings.model_fields[key].default) for key in told}


def test_defaults_of_runs_are_as_described() -> None:
    rows = re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \| `([^`]*)`(?:, `([^`]*)`)? \|", text_of("grids.md"), re.MULTILINE)
    told = {key: yaml.safe_load(text) for row in rows for key, text in (row[::2], row[1::2]) if key and text}
    defaults = RunSettings(method="kmeans").model_dump(mode="json")
    assert {"seeds", "dataset", "split", "backbone", "precision"} <= told.keys()
    assert {key: value["mode"] if key == "features" else value for key, value in defaults.items() if key in told} == {
        key: value["mode"] if key == "features" else value for key, value in told.items()
    }


def test_the_citation_is_of_this_release_and_names_methods_that_are_there() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    cited = {name for paper in citation["references"] for name in paper["notes"].split(", ")}
    assert cited <= set(names())
    assert len(cited) >= 5


def test_the_grid_of_the_readme_is_one(tmp_path: Path) -> None:
    blocks = [block for language, block in FENCE.findall((ROOT / "README.md").read_text("utf-8")) if language == "yaml"]
    (tmp_path / "example.yaml").write_text(blocks[0], encoding="utf-8")
    rows = resolve_rows(load_grid(tmp_path / "example.yaml"), {})
    assert {row.specs[0].method for row in rows} == {"neuralef", "kmeans"}


def test_every_grid_of_camvid_has_numbers_to_compare_with() -> None:
    grids = {path: yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob("grids/*.yaml")}
    camvid = {f"grids/{path.name}" for path, grid in grids.items() if grid["defaults"]["dataset"] == "camvid"}
    assert camvid
    assert not {name for name in camvid if name not in text_of("which-method.md")}


def test_the_journey_is_short() -> None:
    assert len((ROOT / "docs" / "journey-of-a-run.md").read_text(encoding="utf-8").splitlines()) <= 150


PLANTED: dict[str, tuple[Callable[[str], Iterator[str]], str]] = {
    "link": (partial(broken_links, page=DOCS[0]), "See [there](nowhere.md)."),
    "term": (partial(broken_links, page=DOCS[0]), "See [there](glossary.md#no-such-term)."),
    "heading": (partial(broken_links, page=DOCS[0]), "See [below](#nowhere)."),
    "path": (strange_paths, "It lies in `bench/nowhere.py`."),
    "folder": (strange_paths, "They lie in `grids/nowhere/`."),
    "module": (strange_paths, "See `methods.nowhere`."),
    "attribute": (strange_paths, "See `methods.interface.Nowhere`."),
    "name in a module": (strange_paths, "`nowhere` of\n`bench/__main__.py` does it."),
    "command": (refused_commands, "Give `bench nowhere`."),
    "option": (refused_commands, "```bash\npython -m bench run --grid a.yaml --nowhere 3  # no such option\n```\n"),
    "option in prose": (refused_commands, "Give `retry --nowhere`."),
    "argument": (refused_commands, "```bash\n(cd a && python -m bench plan a.yaml b.yaml)\n```\n"),
    "option in a variable": (refused_commands, '```bash\nmore="--nowhere"\npython -m bench run $more\n```\n'),
    "line": (long_lines, "word " * 21),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_fault_is_found(kind: str) -> None:
    look, text = PLANTED[kind]
    assert len(list(look(text))) == 1
