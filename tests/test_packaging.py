"""The wheel and an editable installation, beside Hugging Face's ``datasets`` and ``transformers``."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BOTH = """
import datasets, transformers
from transformers import Trainer
assert "site-packages" in datasets.__file__, datasets.__file__
assert hasattr(datasets, "load_dataset") and Trainer
from spectral_bench.datasets.registry import names
assert "camvid" in names()
"""


def run(command: list[str], cwd: Path, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)], folder)
    (found,) = folder.glob("*.whl")
    return found


class Environment:
    """A virtual environment that sees the packages of this one, but not our own installation."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.python = folder / "bin" / "python"
        self.folder = folder
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        link = folder / "lib" / version / "site-packages" / "zz_underneath.pth"
        link.write_text(
            sysconfig.get_paths()["purelib"] + "\n"
        )  # its own .pth files are not read: our project is not seen

    def pip(self, *arguments: str) -> None:
        run([str(self.python), "-m", "pip", *arguments[:1], "-q", *arguments[1:]], self.folder)

    def check(self, cwd: Path) -> None:
        """Both packages import, and the commands work, from a folder."""
        run([str(self.python), "-c", BOTH], cwd)
        for script in ("bench", "spectral-bench"):
            assert "kmeans" in run([str(self.folder / "bin" / script), "list", "methods"], cwd)


@pytest.mark.slow
def test_the_wheel_holds_one_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"spectral_bench"}
    parts = {name.split("/")[1] for name in names if name.startswith("spectral_bench/") and name.count("/") > 1}
    assert parts == {"bench", "common", "datasets", "methods", "reports", "results"}
    tracked = run(["git", "ls-files", *sorted(parts)], ROOT).split()
    study = "results/study/"  # the capsule of our own study: for the checkout alone
    files = [name for name in tracked if not name.endswith(".md") and not name.startswith(study)]
    assert {f"spectral_bench/{name}" for name in files} <= set(names)
    assert not [name for name in names if study in name]


@pytest.mark.nightly
def test_lives_beside_packages_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    """Installed before ``datasets`` as a wheel, and after it as an editable checkout; and alone again."""
    environment = Environment(tmp_path / "venv")
    environment.pip("install", "--no-deps", str(wheel))
    environment.pip("install", "datasets>=5", "transformers>=5", "accelerate")
    for folder in (tmp_path, ROOT):
        environment.check(folder)
    environment.pip("uninstall", "-y", "spectral-segmentation-bench")
    environment.pip("install", "--no-deps", "-e", str(ROOT))
    for folder in (tmp_path, ROOT):
        environment.check(folder)
    assert "kmeans" in run([str(environment.python), "-m", "bench", "list", "methods"], ROOT)
    environment.pip("uninstall", "-y", "datasets")
    run([str(environment.python), "-c", "from transformers import Trainer"], tmp_path)
    run([str(environment.python), "-c", "from transformers import Trainer"], ROOT)


def test_no_folder_of_the_checkout_hides_another_package_named_datasets() -> None:
    """From the checkout's folder a regular package elsewhere wins over a folder without ``__init__.py``."""
    assert not (ROOT / "datasets" / "__init__.py").exists()


def test_links_of_the_package_lead_to_the_folders_beside_it() -> None:
    links = sorted((ROOT / "src" / "spectral_bench").glob("*/"))
    assert {link.name for link in links if link.is_symlink()} == {
        "bench", "common", "datasets", "methods", "reports", "results",
    }  # fmt: skip
    assert all(link.resolve() == ROOT / link.name for link in links if link.is_symlink())
