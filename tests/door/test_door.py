from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import spectral_bench as sb
from spectral_bench.common.errors import ConfigError, UserError


def test_importing_it_imports_no_torch_and_no_pandas() -> None:
    code = "import sys, spectral_bench as sb; sb.methods(); print({'torch', 'pandas', 'timm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_lists_are_there_before_and_after_the_packages_of_the_same_name() -> None:
    import spectral_bench.datasets.registry
    import spectral_bench.methods.registry  # noqa: F401

    assert "kmeans" in sb.methods()
    assert "camvid" in sb.datasets()
    assert "efficientnet_lite0" in sb.backbones()
    assert sb.methods.registry.names() == sb.methods()


@pytest.mark.parametrize("name", sb.__all__)
def test_every_public_name_is_there_and_told(name: str) -> None:
    found = getattr(sb, name)
    assert name in dir(sb)
    assert callable(found)
    assert name in ("methods", "datasets") or "Example" in (found.__doc__ or "") or name == "Fit"


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        sb.train  # noqa: B018


def test_plan_and_the_options_of_run(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(
        "name: g\nprotocols: [whole]\ndefaults: {dataset: synthetic, seeds: [0, 1]}\nruns:\n  - {method: kmeans}\n"
    )
    planned = sb.plan(tmp_path / "grid.yaml", tmp_path / "store")
    assert list(planned["state"]) == ["new", "new"]
    assert not (tmp_path / "store").exists()
    with pytest.raises(UserError, match='unknown option of run "job"; did you mean "jobs"'):
        sb.run(tmp_path / "grid.yaml", tmp_path / "store", job=2)
    for options, message in (
        ({"jobs": 0}, "jobs: 0; expected at least 1"),
        ({"jobs": "two"}, "jobs: 'two'; expected int"),
        ({"threads": -1}, "threads: -1; expected at least 0"),
        ({"gpus": [0]}, r"gpus: \[0\]; expected str"),
        ({"partition": "long"}, "for --executor slurm alone"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            sb.run(tmp_path / "grid.yaml", tmp_path / "store", **options)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_a_dry_run_stores_nothing_and_gives_no_row(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(
        "name: g\nprotocols: [whole]\ndefaults: {dataset: synthetic}\nruns:\n  - {method: kmeans}\n"
    )
    frame = sb.run(tmp_path / "grid.yaml", tmp_path / "store", changes="seeds=[0, 1]", dry_run=True)
    assert len(frame) == 0
    assert "mIoU" in frame
    assert not (tmp_path / "store").exists()
