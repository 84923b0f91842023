"""The digest of a method's own code, and what a store and a record make of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from spectral_bench.bench.code.records import method_check, own_code, require_own_imports, unproven
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.checks import CHECKS_VERSION, CheckResult, write_check

METHOD = '''
import own_code_helper
from spectral_bench.methods.params import Params


class MineParams(Params):
    k: int = 4


class Mine:
    """Nothing."""

    Params, uses_labels, fit_from = MineParams, False, None

    def __init__(self, params):
        self.n_clusters = params.k

    def fit(self, patches, *, context):
        return self

    def predict(self, batch):
        return batch

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Other(Mine):
    """Nothing else."""
'''


def project(folder: Path, helper: str = "SIGN = 1\n", method: str = METHOD) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "own_code_helper.py").write_text(helper)
    (folder / "mine.py").write_text(method)
    return f"{folder / 'mine.py'}:Mine"


def fresh(method: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The digest as another process would find it."""
    monkeypatch.syspath_prepend(str(Path(method).parent))
    for name in [name for name in sys.modules if name.startswith(("_file_mine", "own_code_helper"))]:
        monkeypatch.delitem(sys.modules, name)
    return own_code(method)


def test_code_is_known_by_content_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fresh(project(tmp_path / "a"), monkeypatch)
    assert len(first) == 16
    assert fresh(project(tmp_path / "b"), monkeypatch) == first
    monkeypatch.chdir(tmp_path)
    assert fresh("a/mine.py:Mine", monkeypatch) == first


@pytest.mark.parametrize(
    ("helper", "method"),
    [("SIGN = -1\n", METHOD), ("SIGN = 1\n", METHOD.replace("return batch", "return None"))],
    ids=["helper", "method"],
)
def test_an_edit_of_the_method_or_of_a_helper_is_other_code(
    helper: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fresh(project(tmp_path / "a"), monkeypatch)
    assert fresh(project(tmp_path / "b", helper, method), monkeypatch) != first


def test_comments_do_not_count_and_the_class_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fresh(project(tmp_path / "a"), monkeypatch)
    assert fresh(project(tmp_path / "b", "# why\nSIGN = 1\n"), monkeypatch) == first
    assert fresh(f"{tmp_path / 'a' / 'mine.py'}:Other", monkeypatch) != first


def test_methods_that_ship_have_none(tmp_path: Path) -> None:
    assert own_code("neuralef_kmeans") == ""
    assert method_check(tmp_path, "kmeans") is None
    assert unproven(tmp_path, ["kmeans"]) == []


def keep(store: Path, code: str, broken: dict[str, str]) -> None:
    fields = {"method": "x", "code": code, "params": {}, "device": "cpu", "finished": "", "promises": []}
    write_check(store, CheckResult(**fields, broken=broken))  # type: ignore[arg-type]


def test_a_store_knows_of_the_code_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, method = tmp_path / "store", project(tmp_path / "a")
    code = fresh(method, monkeypatch)
    assert method_check(store, method).verdict == "not_checked"
    (line,) = unproven(store, [method, method, "kmeans"])
    assert "has not passed check-method at its present code" in line
    assert f"bench check-method {method} --out {store}" in line
    keep(store, code, {})
    assert method_check(store, method).verdict == "passed"
    assert unproven(store, [method]) == []
    keep(store, code, {"labels": "seen"})
    assert "broke a promise of" in unproven(store, [method])[0]


def test_imports_are_refused_before_the_code_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    text = f"open({str(mark)!r}, 'w').close()\nimport forbidden_helper\n{METHOD}"
    method = project(tmp_path / "a", method=text)
    (tmp_path / "a" / "forbidden_helper.py").write_text("import datasets\n")
    with pytest.raises(ConfigError, match=r"forbidden_helper\.py line 1 imports datasets"):
        require_own_imports(method)
    assert not mark.exists()


def test_a_new_promise_asks_for_a_new_version_of_the_checks() -> None:
    """What older checks found says nothing of a promise that they did not know: raise CHECKS_VERSION with it."""
    from spectral_bench.bench.run.firewall import DISK_CHECKS
    from spectral_bench.methods.contract import CHECKS

    known = {1: 18}
    assert len([*CHECKS, *DISK_CHECKS]) == known[CHECKS_VERSION]
