"""Backbones of one's own: found by path or entry point, refused in one line, told by their content."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from spectral_bench.bench.code.records import evaluation_code, fit_code
from spectral_bench.bench.features.backbones import (
    backbone_info,
    backbone_names,
    complete_options,
    load_backbone,
    weights_digest,
)
from spectral_bench.bench.features.backbones.registry import content_name, is_own, module_of
from spectral_bench.bench.features.cache.meta import cache_material
from spectral_bench.bench.features.recipes import WholeRecipe
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.results.specification import BackboneSpec, Resize

HEAD = "from spectral_bench.bench.features.backbones import Backbone, BackboneOptions\n"
MINE = (
    HEAD
    + """
from pydantic import Field
from torch import nn
from aid import SIDE


class Mine(Backbone):
    class Options(BackboneOptions):
        reach: int = Field(1, ge=0, le=8, description="patches")

    stride = SIDE
    channels = (3, 3)

    def digest(self):
        return "none"

    def load(self):
        return nn.AvgPool2d(self.stride)

    def levels(self, network, inputs):
        level = network(inputs).permute(0, 2, 3, 1)
        return level, level
"""
)


def written(folder: Path, text: str = MINE, aid: str = "SIDE = 8\n") -> str:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(text)
    (folder / "aid.py").write_text(aid)
    return f"{folder}/mine.py:Mine"


def changed(folder: Path, old: str, new: str) -> str:
    assert MINE.count(old) == 1
    return written(folder, MINE.replace(old, new))


def test_a_file_states_levels_and_options_and_gives_features(tmp_path: Path) -> None:
    name = written(tmp_path)
    info = backbone_info(name)
    assert (info.name, info.stride, info.channels, info.family, info.native) == (name, 8, (3, 3), "own", None)
    assert complete_options(name, {}) == {"reach": 1}
    assert weights_digest(name) == "none"
    network = load_backbone(name, {"reach": 2}, "cpu")
    image = torch.rand(2, 3, 12, 20)
    levels = network.features(image)
    assert [tuple(level.shape) for level in levels] == [(2, 2, 3, 3)] * 2
    torch.testing.assert_close(levels[0][0, 0, 0], image[0, :, :8, :8].mean((1, 2)))
    assert network.fill == (0, 0, 0)


def test_an_option_without_description_is_refused_without_one(tmp_path: Path) -> None:
    name = changed(tmp_path, ', description="patches"', "")
    with pytest.raises(ConfigError, match=r"reach = 9: input should be less than or equal to 8$"):
        complete_options(name, {"reach": 9})


def test_seeded_weights_are_drawn_from_the_global_generator_and_repeat(tmp_path: Path) -> None:
    text = MINE.replace('reach: int = Field(1, ge=0, le=8, description="patches")', "seed: int = 0").replace(
        "nn.AvgPool2d(self.stride)", "nn.Conv2d(3, 3, 8, 8)"
    )
    name = written(tmp_path, text)
    one, again, other = (load_backbone(name, {"seed": seed}, "cpu").network.weight for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not one.requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reahc": 1}, r'unknown option of backbone .*mine\.py:Mine "reahc"; did you mean "reach"'),
        ({"reach": 9}, r"mine\.py:Mine: reach = 9: input should be less than or equal to 8 \(reach: patches\)"),
        ({"reach": "many"}, r"mine\.py:Mine: reach = 'many': input should be a valid integer"),
    ],
)
def test_bad_options_are_told_in_one_line(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        complete_options(written(tmp_path), options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class Mine(Backbone):", "class Other(Backbone):", r'unknown object in .*mine\.py "Mine"; .*valid: .*Other'),
        ("class Mine(Backbone):", "class Mine:", "is not a backbone: expected a subclass of .*backbones.Backbone"),
        ("    def digest(self):\n", "    def digested(self):\n", "it does not define digest"),
        ("class Options(BackboneOptions)", "class Options", "its Options must be a subclass of .*BackboneOptions"),
        ("    stride = SIDE\n", "    stride = 0\n", r"stride 0, channels \(3, 3\), .*expected whole numbers from 1"),
        ("    stride = SIDE\n", "    stride = 8.0\n", r"stride 8\.0, channels"),
        ("    stride = SIDE\n", "", "its stride and channels: AttributeError: .*'stride'"),
        ("    stride = SIDE\n", "    stride = True\n", "stride True, channels"),
        ("channels = (3, 3)", "channels = ()", "at least one level"),
        ("channels = (3, 3)", "channels = (3, 3)\n    native = 224", "native 224: .*native: height and width, or None"),
        ("channels = (3, 3)", "channels = (3, 3)\n    native = (16,)", r"native \(16,\): expected"),
        ("channels = (3, 3)", "channels = (3, 3)\n    native = (16, 0)", r"native \(16, 0\): expected"),
        ("Field(1, ge=0", "Field(ge=0", "its Options state no default of reach"),
        ('return "none"', "return 7", "the digest of its weights is 7; expected 1 to 64 characters"),
        ('return "none"', "raise OSError('no disk')", "the digest of its weights: OSError: no disk"),
        ("from torch import nn", "from torch import nnn", "import failed: ImportError"),
        ("nn.AvgPool2d(self.stride)", "self", r"load gave Mine, expected a torch\.nn\.Module"),
    ],
)
def test_what_is_no_backbone_is_told_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    name = changed(tmp_path, old, new)
    asked = load_backbone if "load gave" in message else weights_digest
    with pytest.raises(ConfigError, match=message) as error:
        asked(name, {}, *(["cpu"] if asked is load_backbone else []))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.py:Mine", r"gone\.py:Mine: no such file gone\.py"),
        ("mine.py", r"name the object after a colon; valid: Mine \(mine\.py:Object\)"),
        ("efficientnet_lite0.py", "no such file"),
        ("net.pi:Mine", 'unknown backbone "net.pi:Mine"; valid: aimv2'),
        ("no_such_backbone", 'unknown backbone "no_such_backbone"; .*valid: aimv2'),
    ],
)
def test_names_of_nothing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        backbone_info(name)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("from spectral_bench.datasets.registry import open_data", "spectral_bench.datasets"),
        ("from spectral_bench import bench", "spectral_bench.bench"),
        ("import spectral_bench.bench.features", "spectral_bench.bench"),
        ("from spectral_bench.bench.features.views import ViewItem", "spectral_bench.bench.features.views"),
        ("import importlib\nlabels = importlib.import_module('spectral_bench.datasets.camvid')", "spectral_bench.data"),
        ("from spectral_bench.results.store import Store", "spectral_bench.results"),
    ],
)
def test_code_that_could_reach_labels_is_refused_before_it_runs(tmp_path: Path, line: str, named: str) -> None:
    name = written(tmp_path, aid=f"raise AssertionError('executed')\n{line}\n")
    with pytest.raises(ConfigError, match=rf"aid\.py line \d+ imports {named}.*: a backbone sees images, never data"):
        backbone_info(name)


@pytest.mark.parametrize(
    "line",
    [
        "import spectral_bench.bench.features.backbones",
        "from spectral_bench.bench.features.backbones.timm_vit import TimmTransformer",
        "from spectral_bench.common.errors import DataError",
        "import timm",
    ],
)
def test_code_that_builds_on_backbones_is_not(tmp_path: Path, line: str) -> None:
    assert backbone_info(written(tmp_path, f"{line}\n{MINE}")).stride == 8


def test_wrong_levels_are_told_when_they_are_made(tmp_path: Path) -> None:
    network = load_backbone(changed(tmp_path, "return level, level", "return (level,)"), {}, "cpu")
    with pytest.raises(DataError, match=r"its levels have shapes \[\(1, 1, 1, 3\)\], expected \[\(1, 1, 1, 3\), \("):
        network.features(torch.rand(1, 3, 8, 8))


class TestContent:
    def test_code_and_that_of_its_modules_counts_and_no_path_or_comment(self, tmp_path: Path) -> None:
        first = content_name(written(tmp_path / "one"))
        assert first.startswith("Mine:")
        assert str(tmp_path) not in first
        assert content_name(written(tmp_path / "two", f"# a remark\n{MINE}")) == first
        assert content_name(written(tmp_path / "three", aid="SIDE = 4\n")) != first
        assert content_name(changed(tmp_path / "four", "return level, level", "return level, -level")) != first

    def test_names_that_ship_are_their_content(self) -> None:
        assert content_name("efficientnet_lite0") == "efficientnet_lite0"
        assert content_name("vit_small_patch16_224.dino") == "vit_small_patch16_224.dino"
        assert not is_own("vit_small_patch16_224.dino")

    def test_caches_are_told_apart_by_it(self, tmp_path: Path) -> None:
        def material(name: str) -> dict[str, object]:
            spec = BackboneSpec(name=name, known_as="Mine:as-recorded")
            return cache_material({"dataset": "d"}, WholeRecipe(Resize()), spec, "none", "float16")

        one = material(written(tmp_path / "one"))
        assert material(written(tmp_path / "two")) == one
        assert material(written(tmp_path / "three", aid="SIDE = 4\n")) != one

    def test_what_was_loaded_is_told_after_an_edit(self, tmp_path: Path) -> None:
        name = written(tmp_path)
        before = content_name(name)
        backbone_info(name)
        written(tmp_path, aid="SIDE = 4\n")
        assert content_name(name, loaded=True) == before != content_name(name)

    def test_records_depend_on_it(self, tmp_path: Path) -> None:
        name = written(tmp_path)
        for code in (fit_code("kmeans", "synthetic", name), evaluation_code("kmeans", "synthetic", name)):
            assert {"mine.py", "aid.py", "bench.features.backbones.interface"} <= code.keys()
            assert "bench.features.backbones.efficientnet_lite0" not in code


class TestEntryPoints:
    @pytest.fixture
    def lab(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        package = tmp_path / "lab_backbones"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "mine.py").write_text(MINE.replace("from aid import SIDE", "SIDE = 8"))
        monkeypatch.syspath_prepend(tmp_path)
        for module in ("lab_backbones", "lab_backbones.mine"):  # those of the tests before
            monkeypatch.delitem(sys.modules, module, raising=False)
        points = [
            importlib.metadata.EntryPoint("lab", "lab_backbones.mine:Mine", "spectral_bench.backbones"),
            importlib.metadata.EntryPoint("vit_tiny_patch16_224", "gone:Gone", "spectral_bench.backbones"),
        ]

        def entry_points(group: str, name: str = "") -> list[importlib.metadata.EntryPoint]:
            return [point for point in points if point.group == group and name in ("", point.name)]

        for module in ("common.registry", "bench.features.backbones.registry"):
            monkeypatch.setattr(f"spectral_bench.{module}.entry_points", entry_points)
        return package

    def test_they_are_listed_last_and_found_by_name(self, lab: Path) -> None:
        assert backbone_names()[-1] == "lab"
        assert backbone_info("lab").channels == (3, 3)
        assert module_of("lab") == "lab_backbones.mine"
        assert is_own("lab")
        with pytest.raises(ConfigError, match='unknown backbone "labs"; did you mean "lab"'):
            backbone_info("labs")
        with pytest.raises(ConfigError, match=r'backbone lab\.tag: unknown pretrained tag "tag"; valid: none'):
            backbone_info("lab.tag")

    def test_no_name_that_ships_is_taken_over(self, lab: Path) -> None:
        assert backbone_info("vit_tiny_patch16_224").channels == (192, 192, 192)
        assert backbone_names().count("vit_tiny_patch16_224") == 1

    @pytest.mark.parametrize("text", ["import nowhere_at_all", "raise OSError('torn')", ""])
    def test_one_that_cannot_be_imported_is_told(self, lab: Path, text: str) -> None:
        (lab / "mine.py").write_text(text)
        with pytest.raises(ConfigError, match=r"backbone lab: import of lab_backbones\.mine:Mine failed: \w+Error: "):
            backbone_info("lab")

    def test_their_code_and_their_release_count(self, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = content_name("lab")
        assert {"lab_backbones/mine.py"} <= fit_code("kmeans", "synthetic", "lab").keys()
        released = SimpleNamespace(name="lab", dist=SimpleNamespace(version="2.0"))
        monkeypatch.setattr(
            "spectral_bench.bench.features.backbones.registry.entry_points", lambda group, name="": [released]
        )
        second = content_name("lab")
        assert first != second
        (lab / "mine.py").write_text(MINE.replace("from aid import SIDE", "SIDE = 4"))
        assert len({first, second, content_name("lab")}) == 3

    def test_their_imports_are_read_too(self, lab: Path) -> None:
        (lab / "tools.py").write_text("import spectral_bench.reports\n")
        (lab / "mine.py").write_text(f"from lab_backbones import tools\n{MINE}")
        with pytest.raises(ConfigError, match=r"tools\.py line 1 imports spectral_bench\.reports"):
            backbone_info("lab")
