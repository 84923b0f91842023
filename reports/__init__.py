"""Reports: one table model, made from a store of records and rendered as Markdown, LaTeX, CSV or HTML, and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spectral_bench.reports.api import RENDERERS, build_published_table, build_table, build_tables, render
from spectral_bench.reports.table import Table

if TYPE_CHECKING:
    from spectral_bench.reports.write import write_all

__all__ = ["RENDERERS", "Table", "build_published_table", "build_table", "build_tables", "render", "write_all"]


def __getattr__(name: str) -> Any:
    """Load what draws figures only when it is asked for: tables alone need no matplotlib."""
    if name == "write_all":
        from spectral_bench.reports.write import write_all

        return write_all
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
