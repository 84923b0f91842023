"""Reports: one table model, made from a store of records and rendered as Markdown, LaTeX or CSV."""

from reports.api import RENDERERS, build_table, build_tables, render
from reports.table import Table

__all__ = ["RENDERERS", "Table", "build_table", "build_tables", "render"]
