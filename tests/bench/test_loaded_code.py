"""Method files of a user's own with modules beside them: what is imported, and what counts."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from spectral_bench.bench.code.fingerprint import changed, fingerprint
from spectral_bench.bench.code.records import code_of_run, fit_code
from spectral_bench.common.registry import Registry

REGISTRY = Registry("part", {}, "no.such.group")


def write(folder: Path, **texts: str) -> Path:
    """Python files in a folder: ``kit_deep`` is the module ``deep`` of the package ``kit``."""
    for name, text in texts.items():
        path = folder / f"{name.replace('_', '/', 1).replace('INIT', '__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


def value(folder: Path) -> object:
    """What the class ``Part`` of ``part.py`` in a folder says."""
    return REGISTRY.load(f"{folder}/part.py:Part")().value()


PART = """
    from aid import SIGN
    class Part:
        def value(self):
            return SIGN
"""


class TestImport:
    def test_what_lies_beside_is_found_from_any_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir("/")
        assert value(write(tmp_path, part=PART, aid="SIGN = 3")) == 3

    def test_each_folder_has_its_own(self, tmp_path: Path) -> None:
        found = [value(write(tmp_path / name, part=PART, aid=f"SIGN = '{name}'")) for name in ("one", "two")]
        assert found == ["one", "two"]

    def test_imports_inside_of_functions_too(self, tmp_path: Path) -> None:
        late = """
            class Part:
                def value(self):
                    import aid, kit.deep
                    from kit import deep as other
                    return aid.SIGN, kit.deep.DEPTH, other is kit.deep
        """
        folders = [
            write(
                tmp_path / n,
                part=late,
                aid=f"SIGN = {n}",
                kit_deep=f"from . import base\nDEPTH = base.X + {n}",
                kit_base="X = 10",
            )
            for n in ("1", "2")
        ]
        assert [value(folder) for folder in folders] == [(1, 11, True), (2, 12, True)]

    def test_helpers_import_each_other_and_the_file(self, tmp_path: Path) -> None:
        part = """
            BASE = 5
            from kit.top import total
            class Part:
                def value(self):
                    return total()
        """
        top = """
            import aid
            def total():
                from part import BASE
                return aid.SIGN + BASE
        """
        assert value(write(tmp_path, part=part, kit_INIT="", kit_top=top, aid="SIGN = 2")) == 7

    def test_nothing_hides_the_library_or_the_project(self, tmp_path: Path) -> None:
        part = """
            import json, spectral_bench.methods.params as params
            class Part:
                def value(self):
                    return hasattr(json, "loads"), hasattr(params, "Params")
        """
        hiding = {"json": "", "spectral_bench_methods": "", "spectral_bench_INIT": ""}
        assert value(write(tmp_path, part=part, **hiding)) == (True, True)

    def test_folder_of_other_things_hides_no_package(self, tmp_path: Path) -> None:
        part = """
            import yaml
            class Part:
                def value(self):
                    return hasattr(yaml, "safe_load")
        """
        assert value(write(tmp_path, part=part, yaml_notes="")) is True


class TestFingerprint:
    def test_all_that_the_file_imports_counts_by_its_place(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            part="import kit.deep\nimport numpy",
            kit_INIT="",
            kit_deep="from .base import X",
            kit_base="X = 1\nimport aid",
            aid="",
            other="",
        )
        found = fingerprint([str(tmp_path / "part.py")])
        assert set(found) == {"part.py", "kit/__init__.py", "kit/deep.py", "kit/base.py", "aid.py"}

    def test_the_same_wherever_the_folder_lies(self, tmp_path: Path) -> None:
        folders = [write(tmp_path / name, part=PART, aid="SIGN = 1") for name in ("one", "two")]
        one, two = (fingerprint([str(folder / "part.py")]) for folder in folders)
        assert one == two
        write(folders[1], aid="SIGN = 2")
        assert fingerprint([str(folders[1] / "part.py")])["aid.py"] != one["aid.py"]

    def test_modules_on_the_search_path_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "lib", tools_INIT="", tools_graph="import tools.base", tools_base="")
        monkeypatch.syspath_prepend(str(tmp_path / "lib"))
        write(tmp_path / "mine", part="from tools import graph")
        found = fingerprint([str(tmp_path / "mine" / "part.py")])
        assert set(found) == {"part.py", "tools/__init__.py", "tools/graph.py", "tools/base.py"}

    def test_module_of_a_package_that_is_worked_on_counts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An entry point's package, installed in place."""
        for place in ("lib", "site-packages"):
            write(tmp_path / place, lab_INIT="", lab_method="from . import base", lab_base="X = 1")
        monkeypatch.syspath_prepend(str(tmp_path / "lib"))
        before = fingerprint(["lab.method"])
        assert set(before) == {"lab/__init__.py", "lab/method.py", "lab/base.py"}
        write(tmp_path / "lib", lab_base="X = 2")
        assert changed(before, fingerprint(["lab.method"])) == ["lab/base.py"]
        monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
        assert fingerprint(["lab.method"]) == {}

    def test_two_roots_with_helpers_of_one_name(self, tmp_path: Path) -> None:
        roots = [write(tmp_path / n, part="import aid", aid=f"SIGN = {n}") / "part.py" for n in ("1", "2")]
        found = fingerprint(list(map(str, roots)))
        assert set(found) == {"part.py", "aid.py", "../part.py", "../aid.py"}
        assert found["aid.py"] != found["../aid.py"]


LITE = "efficientnet_lite0"

METHOD = """
    from spectral_bench.methods.interface import Params
    from aid import SIGN
    class Mine:
        Params = Params
        def fit(self): pass
        def predict(self):
            import late
            return late.SIGN
        def state_dict(self): pass
        def load_state_dict(self): pass
"""


class TestLoaded:
    def test_edits_after_the_import_change_nothing(self, tmp_path: Path) -> None:
        from spectral_bench.methods.registry import load_method

        write(tmp_path, mine=METHOD, aid="SIGN = 1", late="SIGN = 1")
        name = f"{tmp_path}/mine.py:Mine"
        method = load_method(name)
        before = fit_code(name, "synthetic", LITE)
        assert code_of_run(name, "synthetic", (), LITE)[0] == before
        write(tmp_path, mine="def half(", aid="SIGN = 2", late="SIGN = 2")
        assert code_of_run(name, "synthetic", ("synthetic",), LITE)[0] == before
        assert method.predict(None) == 1  # type: ignore[call-arg,arg-type]
        assert {"mine.py"} <= {
            key for key, hashed in fit_code(name, "synthetic", LITE).items() if before.get(key) != hashed
        }
