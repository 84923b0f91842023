"""Each promise of ``check-backbone`` is seen to be missed by a backbone that breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from spectral_bench.bench.features.backbones.testing import CHECKS, NOT_LOADED, Subject, violations

KEEPS = '''
import itertools, os
from typing import Literal
import torch
from pydantic import Field
from spectral_bench.bench.features.backbones import Backbone, BackboneOptions
from spectral_bench.common.errors import ConfigError

COUNT = itertools.count()


class Mine(Backbone):
    """Random projections of each patch."""

    class Options(BackboneOptions):
        seed: int = Field(0, ge=0, description="of the weights")
        scale: float = Field(1.0, gt=0, le=4, description="of the features")
        kind: Literal["a", "b"] = Field("a", description="either")

    stride = 4
    channels = (5, 6)
    mean = (0.5, 0.5, 0.5)
    std = (0.25, 0.25, 0.25)

    def digest(self):
        return f"random-{self.options['seed']}"

    def load(self):
        return torch.nn.ModuleList([torch.nn.Conv2d(3, width, 4, 4) for width in self.channels])

    def levels(self, network, inputs):
        # before
        found = [layer(inputs) * self.options["scale"] for layer in network]
        # after
        return tuple(level.permute(0, 2, 3, 1) for level in found)
'''


def written(folder: Path, *changes: str) -> Subject:
    text = KEEPS
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "mine.py").write_text(text)
    return Subject(f"{folder}/mine.py:Mine")


@pytest.mark.slow
def test_one_that_keeps_all_breaks_none(tmp_path: Path) -> None:
    assert violations(written(tmp_path)) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("efficientnet_lite0", {}),
        ("test_vit", {"weights": "random"}),
        pytest.param("vit_small_patch16_224.dino", {"weights": "random"}, marks=pytest.mark.nightly),
        ("vit_xsmall_patch16_clip_224", {"weights": "random"}),
        ("vit_xsmall_patch16_clip_224", {"weights": "random", "clip_resize": "interpolate"}),
        ("examples/own_backbone.py:ColourPyramid", {}),
    ],
)
def test_those_that_ship_keep_all(name: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[4])
    assert violations(Subject(name, options)) == {}


LAYERS = "torch.nn.ModuleList([torch.nn.Conv2d(3, width, 4, 4) for width in self.channels])"
NO_FILE = (f"return {LAYERS}", "raise RuntimeError('no\\nfile')")
DIGEST = "f\"random-{self.options['seed']}\""
STUCK = """
class Stuck(torch.nn.ModuleList):
    def _apply(self, function, recurse=True):
        return self


class Mine(Backbone):"""
LAX = """
    @classmethod
    def complete(cls, name, options):
        if "no_such_option" in options:
            raise ConfigError("no_such_option")
        return {"seed": 0, "scale": 1.0, **options}

    def digest"""
LOCAL = """
    def __init__(self, name, options):
        super().__init__(name, options)
        self.sums = lambda: 1

    def digest"""


def completed(options: str) -> tuple[str, str]:
    """Options that are whatever this expression gives, unread."""
    return "    def digest", f"    complete = classmethod(lambda cls, name, options: {options})\n\n    def digest"


def before(statement: str) -> tuple[str, str]:
    return "# before", statement


def after(statement: str) -> tuple[str, str]:
    return "# after", statement


def loading(statement: str) -> tuple[str, str]:
    return "def load(self):", f"def load(self):\n        {statement}"


BROKEN: dict[str, dict[str, tuple[str, ...]]] = {
    "facts": {
        "it states .*asked again": ("stride = 4", "stride = property(lambda self: 4 + next(COUNT) % 2)"),
        "completed again, are": completed("{'seed': len(options)}"),
        "are no plain values": completed("{'a': (1,)}"),
    },
    "refusals": {
        "option no_such_option = 1 must be refused": completed("{'seed': 0}"),
        "option seed = -1 must be refused": ("    def digest", LAX),
        "option no_such_option = 1 is refused in other words: 'no'": (
            "    def digest",
            LAX.replace('ConfigError("no_such_option")', 'ConfigError("no")'),
        ),
    },
    "load": {
        "no\nfile": NO_FILE,
        "its std is": ("std = (0.25, 0.25, 0.25)", "std = (0.25, 0.0, 0.25)"),
        "its mean is": ("mean = (0.5, 0.5, 0.5)", "mean = (0.5, float('nan'), 0.5)"),
    },
    "weights": {
        "and asked again": (DIGEST, "str(next(COUNT))"),
        "it gives no digest": (DIGEST, "None"),
        "seeds 0 and 1 give weights of one digest": (DIGEST, "'random'"),
        "the same features under two digests": loading("torch.manual_seed(3)"),
    },
    "levels": {
        "its levels have shapes .*expected": ("channels = (5, 6)", "channels = (5, 7)", "width, 4, 4", "5, 4, 4"),
        "is torch.float64, expected float32": after("found = [level.double() for level in found]"),
        "level 0 of images of 4 x 4 pixels is not finite": after("found = [level.log() for level in found]"),
        "an image of 1 is not finite": after("found = [level / (inputs.max() - 2) for level in found]"),
    },
    "determinism": {
        "features of the same image differ": after("found = [level + next(COUNT) for level in found]"),
        "loaded again": loading("torch.manual_seed(next(COUNT))"),
        "the global random generator was used": after("torch.rand(3)"),
    },
    "batch_size": {
        "in batches of 1 differ by .* from those in one of 4": before("inputs = inputs - inputs.mean()"),
    },
    "frozen": {
        "features carry a gradient": after("found = [level.detach().requires_grad_() for level in found]"),
        "the network is in training mode": after("network.train()"),
        "parameters ask for gradients": after("network.requires_grad_()"),
        "looking at images changes network.0.bias, network.1.bias": after("[m.bias.data.add_(1) for m in network]"),
        "levels changes its inputs": before("inputs.mul_(2)"),
    },
    "process": {
        "it cannot be pickled": ("    def digest", LOCAL),
        "another process gets other features": after("found = [level + os.getpid() for level in found]"),
    },
    "device": {
        "was loaded on cpu, and lies on cpu, meta": (
            "class Mine(Backbone):",
            STUCK,
            LAYERS,
            "Stuck([torch.nn.Linear(1, 1, device='meta')])",
        ),
    },
}


@pytest.mark.parametrize(
    ("promise", "found", "changes"),
    [(promise, found, changes) for promise, cases in BROKEN.items() for found, changes in cases.items()],
)
def test_each_broken_promise_is_found(tmp_path: Path, promise: str, found: str, changes: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match=found):
        CHECKS[promise](written(tmp_path, *changes))


def test_each_promise_is_broken_above() -> None:
    assert {*BROKEN, "firewall"} == set(CHECKS)


def test_the_firewall_is_among_them(tmp_path: Path) -> None:
    subject = written(tmp_path, "import itertools, os", "import itertools, os\nimport spectral_bench.datasets.registry")
    assert "imports spectral_bench.datasets" in violations(subject)["firewall"]


def test_of_one_that_does_not_load_the_rest_is_not_judged(tmp_path: Path) -> None:
    found = violations(written(tmp_path, *NO_FILE))
    assert found.pop("load") == "RuntimeError: no file"
    assert set(found.values()) == {NOT_LOADED}
    assert set(found) == set(CHECKS) - {"load", "facts", "firewall", "refusals"}
