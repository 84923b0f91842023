from __future__ import annotations

import subprocess
import sys

import pytest
from report_samples import add_row, outcomes, write_grid

from spectral_bench.common.errors import UserError
from spectral_bench.reports import RENDERERS, build_table, render
from spectral_bench.results.store import Store


@pytest.mark.parametrize("format", list(RENDERERS))
def test_every_format_ends_with_one_line_feed(store: Store, format: str):
    text = render(build_table(write_grid(store, add_row(store, "a", outcomes(10)))), format)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_an_unknown_format_is_refused(store: Store):
    table = build_table(write_grid(store, add_row(store, "a", outcomes(10))))
    with pytest.raises(UserError, match='unknown format "markdwon"; did you mean "markdown"'):
        render(table, "markdwon")


def test_reports_do_not_load_torch():
    code = "import sys, spectral_bench.reports; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
