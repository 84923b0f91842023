"""The contract's checks find the methods that break it, each its own fault, and pass a sound one."""

from pathlib import Path

import pytest

from spectral_bench.methods.contract import CHECKS, NONDETERMINISTIC, NOT_JUDGED, Subject, violations

SOUND = '''
from typing import Any

import torch
from pydantic import Field

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.health import collapse_check
from spectral_bench.methods.params import Params


class DirectionsParams(Params):
    k: int = Field(4, ge=2)


class Directions:
    """The nearest of K patches drawn at random."""

    Params = DirectionsParams
    uses_labels = False
    fit_from = None

    def __init__(self, params):
        self.n_clusters = params.k
        self.centres = torch.empty(0)

    def fit(self, patches, *, context):
        if patches.n_patches < self.n_clusters:
            raise ConfigError("too many clusters")
        points = patches.subsample(patches.n_patches).features[-1]
        if not points.isfinite().all():
            raise NumericalError("NaN")
        generator = context.seeds.torch("initialisation")
        self.centres = points[torch.randperm(len(points), generator=generator)[: self.n_clusters]]
        self.checks = (collapse_check(len(torch.cdist(points, self.centres).argmin(1).unique())),)
        return self

    def predict(self, batch):
        if not batch.features[-1].isfinite().all():
            raise NumericalError("NaN")
        parts = [-(image[..., None, :] - self.centres).square().sum(-1) for image in batch.features[-1]]
        return torch.stack(parts).permute(0, 3, 1, 2)

    def state_dict(self):
        return {"centres": self.centres}

    def load_state_dict(self, state):
        self.centres = state["centres"]
'''

BROKEN = {
    "facts": ("self.n_clusters = params.k", "self.n_clusters = params.k + 1"),
    "firewall": ("from typing import Any", "import spectral_bench.datasets.interface"),
    "labels": (
        "generator = context.seeds",
        'if context.labels is not None:\n            context.labels.labels("image0", None, (6, 7))\n'
        "        generator = context.seeds",
    ),
    "refusals": ("k: int = Field(4, ge=2)", "k: Any = 4"),
    "determinism": (", generator=generator)", ")"),
    "prediction": ("return torch.stack(parts).permute(0, 3, 1, 2)", "return torch.stack(parts)"),
    "batch_invariance": ("torch.stack(parts)", "(torch.stack(parts) - batch.features[-1].mean())"),
    "node_order": (
        "    def state_dict(self):",
        "    def kernel(self, batch):\n"
        "        from spectral_bench.methods.graphs.batch import batch_kernel\n"
        "        return batch_kernel(batch, neighbours=5, alpha=0.3)\n\n"
        "    def eigenfunctions(self, batch):\n"
        "        return self.predict(batch) + torch.linspace(0, 1, batch.grid[1])\n\n"
        "    def state_dict(self):",
    ),
    "resume": (
        "generator = context.seeds",
        "first = context.checkpoint.load() is None\n        context.checkpoint.save({})\n"
        "        if context.should_stop():\n            from spectral_bench.common.errors import RunInterrupted\n"
        "            raise RunInterrupted\n"
        "        points = points if first else points.flip(0)\n        generator = context.seeds",
    ),
    "state": ('self.centres = state["centres"]', 'self.centres = state["centres"].flip(0)'),
    "too_many_clusters": ('raise ConfigError("too many clusters")', "self.n_clusters = patches.n_patches"),
    "not_finite": ('raise NumericalError("NaN")', "pass"),
    "constant_features": ("self.checks = (", "self.unread = ("),
    "one_image": ("points = patches", "assert len(patches) > 1\n        points = patches"),
}


def subject(folder: Path, text: str) -> Subject:
    path = folder / "directions.py"
    path.write_text(text)
    return Subject(f"{path}:Directions", {"k": 4})


def test_a_sound_method_breaks_nothing(tmp_path: Path) -> None:
    assert violations(subject(tmp_path, SOUND)) == {}


def test_each_check_has_a_method_that_breaks_it() -> None:
    assert BROKEN.keys() == CHECKS.keys()


@pytest.mark.parametrize("check", BROKEN)
def test_a_method_that_breaks_a_promise_is_found_out(check: str, tmp_path: Path) -> None:
    sound, broken = BROKEN[check]
    assert sound in SOUND
    found = violations(subject(tmp_path, SOUND.replace(sound, broken)))
    assert check in found, found
    assert found[check]


@pytest.mark.parametrize(
    ("sound", "broken", "check", "message"),
    [
        ("return torch.stack(parts)", "return torch.stack(parts).double()", "prediction", "expected float32"),
        ("parts = [", "batch.features[-1].add_(1)\n        parts = [", "prediction", "predict changed features"),
        ("parts = [", "self.centres = self.centres + 1\n        parts = [", "prediction", "predict changed the state"),
        ('{"centres": self.centres}', '{"a": self.centres, "b": self.centres}', "state", "share memory"),
        ('{"centres": self.centres}', '{"centres": self.centres, "k": 4}', "state", "tensors only"),
        ("generator = context", "torch.rand(1)\n        generator = context", "determinism", "global random generator"),
        ("uses_labels = False", "uses_labels = True", "labels", "other labels give the same fit"),
        (
            "uses_labels = False",
            "uses_labels = labels_at_prediction = True\n"
            "    predict_labelled = lambda self, batch, labels: self.predict(batch)",
            "labels",
            "labels do not change its scores",
        ),
        (
            "batch.features[-1]]",
            "(batch.features[-1] + 0 * batch.antialiased.mean())]",
            "prediction",
            "'NoneType' object has no attribute 'mean'",
        ),
        (
            "points = patches",
            "next(patches.images()).antialiased.mean()\n        points = patches",
            "prediction",
            "'NoneType' object has no attribute 'mean'",
        ),
        ('ConfigError("too', 'ValueError("too', "too_many_clusters", "ended in ValueError: too many clusters"),
    ],
)
def test_violations_say_what_is_wrong(sound: str, broken: str, check: str, message: str, tmp_path: Path) -> None:
    found = violations(subject(tmp_path, SOUND.replace(sound, broken)))
    assert message in found[check]


def test_antialiased_pixels_are_there_for_who_asks_for_them(tmp_path: Path) -> None:
    asking = SOUND.replace(
        "    k: int = Field(4, ge=2)\n",
        "    k: int = Field(4, ge=2)\n\n    @property\n    def antialiased_pixels(self):\n        return True\n",
    )
    looking = asking.replace("points = patches", "next(patches.images()).antialiased.mean()\n        points = patches")
    assert looking != asking != SOUND
    assert violations(subject(tmp_path, looking)) == {}


def test_no_label_check_is_made_of_fits_that_differ_by_chance(tmp_path: Path) -> None:
    found = violations(subject(tmp_path, SOUND.replace(", generator=generator)", ")")))
    assert found["determinism"] == NONDETERMINISTIC
    assert found["labels"] == NOT_JUDGED == "cannot be judged: two fits of one seed differ"


def test_an_import_in_a_helper_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contract_helper.py").write_text("def late():\n    import datasets\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = violations(subject(tmp_path, f"import contract_helper\n{SOUND}"))
    assert found.keys() == {"firewall"}
    assert "contract_helper.py line 2 imports datasets" in found["firewall"]


def test_the_example_of_a_method_breaks_nothing() -> None:
    example = Path(__file__).parents[2] / "examples" / "random_directions.py"
    assert violations(Subject(f"{example}:RandomDirections", {"k": 4})) == {}
    assert len(example.read_text().splitlines()) <= 60
