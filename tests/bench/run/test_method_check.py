"""A record tells what was known of a method's own code when the run began, whatever becomes of the file meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from spectral_bench.bench.code.records import own_code
from spectral_bench.bench.run import execute
from spectral_bench.bench.run.context import Run
from spectral_bench.results.checks import CheckResult, write_check

METHOD = '''
from spectral_bench.methods.kmeans import KMeans
from spectral_bench.methods.params import KMeansParams


class Edited(KMeans):
    """k-means of one's own, whose file is broken while it works."""

    Params = KMeansParams
'''


@pytest.mark.parametrize("passed", [True, False])
def test_it_is_that_of_the_beginning(passed: bool, make_order, store, tmp_path: Path) -> None:
    path = tmp_path / f"edited_{passed}.py"
    path.write_text(METHOD)
    method = f"{path}:Edited"
    code = own_code(method)
    fields = {"method": method, "params": {}, "device": "cpu", "finished": "", "promises": [], "broken": {}}
    if passed:
        write_check(store.path, CheckResult(code=code, **fields))
    order = make_order(method, {"k": 4})
    run = Run(order, store, lambda: False)
    assert run.method_check.code == code
    assert run.method_check.verdict == ("passed" if passed else "not_checked")
    path.write_text("def (:")
    assert run.method_check.code == code, "an edit of the file changes nothing of a run at work"


def test_a_method_that_ships_has_none(make_order, store) -> None:
    order = make_order("kmeans")
    execute(order, store=store, should_stop=lambda: False)
    record = store.fit_record(order.spec.run_id)
    assert record.method_check is None
    (evaluation,) = store.load_run(order.spec.run_id).evaluations.values()
    assert evaluation.method_check is None
