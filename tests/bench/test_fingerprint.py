from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.bench.code import fingerprint as module
from spectral_bench.bench.code.fingerprint import PASSED_OVER, changed, fingerprint
from spectral_bench.common.loaded import ROOT

FIRST = '''
    """A method."""
    import numpy as np

    from common import geometry   # a comment


    class Method:
        """It groups."""

        def fit(self, x: int, *, rate=1e-3) -> int:
            """Fits."""
            return x + 1 if x else [1, "a", None, 2.5, b"c", ...][0]
'''
SAME = '''
    # Nothing but words and looks have changed.
    import numpy as np
    from common import (
        geometry,
    )
    class Method:
        """Words of another kind."""
        def fit(self, x: int, *, rate = 0.001) -> int:
            return (x+1) if x else [1,'a',None,2.5,b'c',...][0]
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "methods/__init__.py": "",
        "methods/kmeans.py": FIRST,
        "methods/other.py": "import methods.kmeans",
        "common/__init__.py": "",
        "common/geometry.py": "SIDE = 4",
        "bench/__init__.py": "",
        "bench/features/__init__.py": "from bench.features.cache import read",
        "bench/features/cache.py": "read = len",
    }.items():
        write(tmp_path, name, text)
    return tmp_path


def write(project: Path, name: str, text: str) -> None:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def one(project: Path, text: str) -> str:
    """The fingerprint of a module that holds ``text``."""
    write(project, "methods/kmeans.py", text)
    return fingerprint(["methods.kmeans"], root=project)["methods.kmeans"]


class TestTree:
    def test_words_and_looks_do_not_count(self, project: Path) -> None:
        assert one(project, FIRST) == one(project, SAME)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("x + 1", "x - 1"),
            ("x + 1", "x + 2"),
            ("x + 1", "x + 1.0"),
            ("x + 1", "x + True"),
            ("rate=1e-3", "rate=1e-4"),
            ("x: int", "x: float"),
            ("def fit", "def fits"),
            ("None", "0"),
            ('"a"', 'b"a"'),
            ("*, rate", "rate"),
            ("import numpy as np", "import numpy"),
            ("class Method:", "class Method(object):"),
        ],
    )
    def test_code_counts(self, project: Path, old: str, new: str) -> None:
        assert old in FIRST
        assert one(project, FIRST) != one(project, FIRST.replace(old, new))

    def test_text_that_is_no_docstring_counts(self, project: Path) -> None:
        assert one(project, "x = 1\n'text'") != one(project, "x = 1\n'other'")
        assert one(project, "def f():\n    x = 1\n    'text'") != one(project, "def f():\n    x = 1")

    def test_place_in_the_tree_counts(self, project: Path) -> None:
        assert one(project, "if a:\n    b\nc") != one(project, "if a:\n    b\n    c")
        assert one(project, "f(a, b)") != one(project, "f(a)(b)")
        assert one(project, "[[a], b]") != one(project, "[[a, b]]")

    def test_value_cannot_pass_for_structure(self, project: Path) -> None:
        assert one(project, "x = 'a', 'b'") != one(project, "x = 'a\\0b'")

    def test_fields_that_newer_pythons_add_empty_do_not_count(self) -> None:
        node = ast.parse("def f(): pass").body[0]
        before: list[str] = []
        module._write(node, before)
        node.novelty = []  # type: ignore[attr-defined]
        type_of = type("FunctionDef", (type(node),), {"_fields": (*node._fields, "novelty")})
        node.__class__ = type_of
        after: list[str] = []
        module._write(node, after)
        assert before == after

    @settings(max_examples=50, deadline=None)
    @given(st.sampled_from(sorted(ROOT.glob("*/*.py"))), st.integers(0, 10**6))
    def test_unparsed_code_has_the_same_fingerprint(self, path: Path, seed: int) -> None:
        """Whatever Python prints for a tree is the same code in other looks."""
        tree = ast.parse(path.read_text())
        again = ast.parse(ast.unparse(tree))
        parts: tuple[list[str], list[str]] = ([], [])
        module._write(tree, parts[0])
        module._write(again, parts[1])
        assert parts[0] == parts[1]


class TestClosure:
    def test_follows_imports_inside_the_project(self, project: Path) -> None:
        found = fingerprint(["methods.other"], root=project)
        assert set(found) == {"methods", "methods.other", "methods.kmeans", "common", "common.geometry"}
        assert list(found) == sorted(found)

    def test_package_stands_for_its_init(self, project: Path) -> None:
        assert set(fingerprint(["bench.features"], root=project)) == {"bench.features", "bench.features.cache"}

    def test_packages_around_a_root_count(self, project: Path) -> None:
        assert set(fingerprint(["bench.features.cache"], root=project)) == {"bench.features", "bench.features.cache"}

    @pytest.mark.parametrize(
        "text",
        [
            "from . import geometry",
            "from .geometry import SIDE",
            "import common.geometry as g",
            "from common.geometry import SIDE",
            "def f():\n    from common import geometry",
            "try:\n    import common.geometry\nexcept ImportError:\n    pass",
            "if x:\n    pass\nelse:\n    import common.geometry",
            "with x:\n    match y:\n        case 1:\n            import common.geometry",
            "if TYPE_CHECKING:\n    pass\nelse:\n    import common.geometry",
        ],
    )
    def test_forms_of_import(self, project: Path, text: str) -> None:
        write(project, "common/user.py", text)
        assert "common.geometry" in fingerprint(["common.user"], root=project)

    @pytest.mark.parametrize("test", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
    def test_imports_for_type_checkers_are_not_followed(self, project: Path, test: str) -> None:
        write(project, "common/user.py", f"if {test}:\n    from common import geometry")
        assert set(fingerprint(["common.user"], root=project)) == {"common", "common.user"}

    def test_relative_imports_of_a_deeper_package(self, project: Path) -> None:
        write(project, "methods/graphs/__init__.py", "from .knn import build\nfrom ..kmeans import Method")
        write(project, "methods/graphs/knn.py", "from .. import other")
        found = fingerprint(["methods.graphs"], root=project)
        assert {"methods.graphs.knn", "methods.kmeans", "methods.other"} <= set(found)

    def test_what_cannot_change_a_number_is_passed_over(self, project: Path) -> None:
        write(project, "common/files.py", "x = 1")
        write(project, "results/store.py", "x = 1")
        write(project, "bench/cli.py", "x = 1")
        write(project, "methods/other.py", "import common.files, results.store, bench.cli, torch, os")
        assert set(fingerprint(["methods.other"], root=project)) == {"methods", "methods.other", "common"}

    def test_circles_end(self, project: Path) -> None:
        write(project, "common/geometry.py", "import methods.other")
        assert "methods.other" in fingerprint(["methods.other"], root=project)

    def test_file_of_the_users_own(self, project: Path, tmp_path: Path) -> None:
        own = tmp_path / "elsewhere" / "mine.py"
        write(tmp_path, "elsewhere/mine.py", "from methods.kmeans import Method\nimport helper")
        found = fingerprint([str(own)], root=project)
        assert {"mine.py", "methods.kmeans", "common.geometry"} <= set(found)

    def test_names_of_nothing_are_passed_over(self, project: Path) -> None:
        assert fingerprint(["methods.gone", "/no/such/file.py"], root=project).keys() == {"methods"}

    def test_file_that_is_no_python_counts_by_its_bytes(self, project: Path) -> None:
        assert one(project, "def f(:") != one(project, "def g(:")
        assert one(project, "def f(:") != one(project, FIRST)

    def test_change_deep_down_is_seen_at_once(self, project: Path) -> None:
        before = fingerprint(["methods.other"], root=project)
        write(project, "common/geometry.py", "SIDE = 16")
        after = fingerprint(["methods.other"], root=project)
        assert changed(before, after) == ["common.geometry"]


def test_changed_names_new_and_vanished_modules() -> None:
    assert changed({"a": "1", "b": "1", "c": "1"}, {"b": "1", "c": "2", "d": "1"}) == ["a", "c", "d"]
    assert changed({"a": "1"}, {"a": "1"}) == []


def test_the_name_of_the_installed_package_does_not_count(project: Path) -> None:
    """Records keep the short names of modules, and their hashes, wherever the package lies."""
    short = "from methods.other import Method\nimport common.geometry\nPLACE = 'methods.other'"
    write(project, "methods/kmeans.py", short)
    old = fingerprint(["methods.kmeans"], root=project)
    write(
        project,
        "methods/kmeans.py",
        short.replace("methods.", "spectral_bench.methods.").replace("import common", "import spectral_bench.common"),
    )
    assert fingerprint(["spectral_bench.methods.kmeans"], root=project) == old


class TestThisProject:
    def test_modules_passed_over_exist(self) -> None:
        assert [name for name in PASSED_OVER if module._file(name, ROOT) is None] == []

    def test_each_file_is_parsed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        parsed, parse = [], module.ast.parse
        monkeypatch.setattr(module.ast, "parse", lambda *given, **more: parsed.append(given) or parse(*given, **more))
        folders = ("bench", "common", "datasets", "methods", "reports", "results")
        files = [path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py")]
        names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
        assert len(fingerprint(names)) == len(names)
        assert len(parsed) <= len(names)
        parsed.clear()
        fingerprint(names)
        assert not parsed


@pytest.mark.parametrize("example", ["random_directions.py", "own_backbone.py"])
def test_a_checkout_on_the_path_makes_none_of_our_modules_files_of_a_users_own(
    example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(ROOT / "examples" / example)
    others = [place for place in sys.path if Path(place).resolve() != ROOT]
    monkeypatch.setattr(sys, "path", others)
    elsewhere = fingerprint([file])
    monkeypatch.setattr(sys, "path", [str(ROOT), *others])  # as for "python -m bench" in the folder of the checkout
    assert fingerprint([file]) == elsewhere
    assert [name for name in elsewhere if name.endswith(".py")] == [example]


def test_a_folder_of_a_users_own_is_not_taken_for_one_of_ours(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", "from spectral_bench.methods import params\nimport methods.own")
    for name in ("methods/__init__.py", "methods/params.py", "methods/own.py"):
        write(tmp_path, name, "A = 1")
    own = [name for name in fingerprint([str(tmp_path / "mine.py")]) if name.endswith(".py")]
    assert own == ["methods/__init__.py", "methods/own.py", "mine.py"]
