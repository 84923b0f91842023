from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


def test_it_is_committed_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_it_runs_from_top_to_bottom_and_draws_what_it_says(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    outputs = {cell["id"]: cell["outputs"] for cell in notebook.cells if cell.cell_type == "code"}
    shown = {name: {kind for one in found for kind in one.get("data", {})} for name, found in outputs.items()}
    assert all("image/png" in shown[name] for name in ("cluster", "fit", "plot"))
    (table,) = outputs["table"]
    rows = [line.split() for line in table["data"]["text/plain"].splitlines()[2:]]
    assert [row[-4] for row in rows] == ["4", "8", "16"]
    assert all(0 < float(row[-3]) < 1 and row[-1] == "3" for row in rows)
