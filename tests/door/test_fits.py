from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import spectral_bench as sb
from spectral_bench.bench.features.cache.arrays import FeatureCache
from spectral_bench.bench.features.cache.meta import META_FILE, CacheMeta
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.results.store import Store

SHORT = {"steps": 2, "batch_size": 2}
METHODS: dict[str, dict[str, Any]] = {
    "kmeans": {},
    "deep_spectral": {"segments": 3},
    "nystrom": {},
    "neuralef": SHORT,
    "neuralef_kmeans": SHORT,
    "spin": SHORT,
    "neuralsvd": SHORT,
    "spectralnet": SHORT,
}


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 4, 6, 8)).astype(np.float32)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_without_labels_fits_predicts_and_comes_back_from_a_file(
    name: str, features: np.ndarray, tmp_path: Path
) -> None:
    fit = sb.fit(name, features, k=3, seed=1, **METHODS[name])
    clusters, scores = fit.predict(features), fit.scores(features)
    assert clusters.shape == (5, 4, 6)
    assert clusters.dtype == np.int64
    assert scores.shape == (5, 3, 4, 6)
    assert np.array_equal(scores.argmax(1), clusters)
    fit.save(tmp_path / "fit.safetensors")
    again = sb.load(tmp_path / "fit.safetensors")
    assert np.array_equal(again.scores(features), scores)
    assert (again.method, again.seed, again.get_params()) == (name, 1, fit.get_params())
    assert again.get_params()["k"] == again.n_clusters == 3


def test_tensors_give_tensors_and_the_same_clusters(features: np.ndarray) -> None:
    fit = sb.fit("kmeans", torch.from_numpy(features), n_clusters=3, random_state=2)
    found = fit.predict(torch.from_numpy(features).double())
    assert isinstance(found, torch.Tensor)
    assert np.array_equal(found.numpy(), sb.fit("kmeans", features, k=3, seed=2).predict(features))


def test_levels_may_differ_in_channels(features: np.ndarray) -> None:
    levels = [features[..., :3], features]
    fit = sb.fit("kmeans", levels, k=3, input="all_standardised_l2")
    assert fit.channels == (3, 8)
    assert fit.predict([level[:2, :2] for level in levels]).shape == (2, 2, 6)


def test_the_callers_settings_of_torch_stay(features: np.ndarray) -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    sb.fit("kmeans", features, k=3).predict(features)
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before


def test_colours_reach_methods_that_compare_them(features: np.ndarray) -> None:
    pixels = np.random.default_rng(1).uniform(size=(5, 4, 6, 3))
    grey = sb.fit("neuralef", features, k=3, **SHORT)
    coloured = sb.fit("neuralef", features, pixels=pixels, k=3, **SHORT)
    assert not np.array_equal(grey.scores(features), coloured.scores(features))


def test_the_published_graph_looks_at_the_colours_that_are_given(features: np.ndarray) -> None:
    pixels = np.random.default_rng(1).uniform(size=(5, 4, 6, 3))
    settings = {"k": 3, "segments": 3, "published": True}
    grey = sb.fit("deep_spectral", features, **settings)
    coloured = sb.fit("deep_spectral", features, pixels=pixels, **settings)
    maps = coloured.eigenfunctions(features, pixels)
    assert not np.allclose(np.abs(maps), np.abs(grey.eigenfunctions(features)))
    assert not np.allclose(np.abs(maps), np.abs(coloured.eigenfunctions(features)))


def test_eigenfunctions(features: np.ndarray) -> None:
    assert sb.fit("neuralef", features, k=3, **SHORT).eigenfunctions(features).shape == (5, 3, 4, 6)
    with pytest.raises(UserError, match='method "kmeans" has no eigenfunctions'):
        sb.fit("kmeans", features, k=3).eigenfunctions(features)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda x: x[0], {}, r"features: shape \(4, 6, 8\); expected \(M, h, w, C\)"),
        (lambda x: x[:0], {}, "at least one of each"),
        (lambda x: "features.npy", {}, "str is no array of numbers"),
        (lambda x: [], {}, "an empty list"),
        (lambda x: [x, x[:3]], {}, r"level 1: shape \(3, 4, 6, 8\); expected M, h and w of level 0"),
        (lambda x: x * np.nan, {}, "NaN or infinite"),
        (lambda x: x.astype(np.float64) * 1e300, {}, "NaN or infinite in float32"),
        (lambda x: x + 1j, {}, "expected real ones"),
        (lambda x: torch.from_numpy(x).to_sparse(), {}, "a sparse, quantized or empty"),
        (lambda x: torch.empty(x.shape, device="meta"), {}, "a sparse, quantized or empty"),
        (lambda x: np.ma.masked_array(x, x > 0), {}, "a masked array"),
        (lambda x: x, {"pixels": np.zeros((5, 4, 6, 4))}, r"pixels: shape .* expected \(5, 4, 6, 3\)"),
        (lambda x: x, {"pixels": np.full((5, 4, 6, 3), 255)}, r"from 255 to 255; expected RGB in \[0, 1\]"),
    ],
)
def test_wrong_arrays_are_one_line(change: Any, options: dict[str, Any], message: str, features: np.ndarray) -> None:
    with pytest.raises(UserError, match=message) as caught:
        sb.fit("kmeans", change(features), k=3, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kmean", {}, 'did you mean "kmeans"'),
        ("kmean", {}, "valid: deep_spectral, kmeans, maskclip, neuralef, neuralef_kmeans, neuralsvd, nystrom, reco"),
        ("maskclip", {}, "^maskclip: text: required, file of text vectors, as bench data text writes it$"),
        ("kmeans", {"kk": 3}, 'unknown parameter of kmeans "kk"'),
        ("kmeans", {"k": 1}, "kmeans: k = 1"),
        ("kmeans", {"k": 121}, "expected at most 120, the number of training patches"),
        ("neuralef", {"k": 3, "batch_size": 6}, "batch_size = 6: expected at most the 5 training images"),
        ("kmeans", {"k": 3, "n_clusters": 3}, "give one of them"),
        ("kmeans", {"seed": 1, "random_state": 1}, "give one of them"),
        ("kmeans", {"seed": -1}, "expected an integer from 0 on"),
        ("kmeans", {"seed": True}, "expected an integer from 0 on"),
        ("kmeans", {"seed": 2**63}, r"expected an integer from 0 on, below 2\^63"),
        (Path("kmeans"), {}, "expected a name, or the text path/to/file.py:Class"),
        ("kmeans", {"device": None}, "device: None; expected one of auto"),
        ("linear_probe", {}, "is fitted with labels"),
        ("kmeans", {"device": "gpu"}, 'unknown device "gpu"'),
        (
            "deep_spectral",
            {"pixel_grid": 2},
            "2 x 2 colours of each patch, and pixels are one a patch here; leave it at 1",
        ),
    ],
)
def test_wrong_settings_are_told_as_in_a_grid(
    name: Any, options: dict[str, Any], message: str, features: np.ndarray
) -> None:
    with pytest.raises(ConfigError, match=message):
        sb.fit(name, features, **options)


def test_a_fit_knows_its_channels(features: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"levels of \(3,\) channels; this fit knows \(8,\)"):
        sb.fit("kmeans", features, k=3).predict(features[..., :3])


def test_files_that_are_no_fits(features: np.ndarray, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(UserError, match="no such file"):
        sb.load(tmp_path / "gone")
    (tmp_path / "text").write_text("not a fit")
    with pytest.raises(UserError, match="cannot be read as a saved fit"):
        sb.load(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(UserError, match="a safetensors file, but not one"):
        sb.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{", "is not what Fit.save wrote"),
        ("[1]", "is not what Fit.save wrote"),
        ('{"format": 1, "method": "kmeans"}', "is not what Fit.save wrote"),
        ('{"format": 2}', "format 2; this release reads format 1"),
        ('{"format": 1, "method": "kmeans", "params": {"kk": 3}, "seed": 0, "channels": [8]}', 'of kmeans "kk"'),
        ('{"format": 1, "method": "kmeans", "params": {"k": 3}, "seed": 0, "channels": [8]}', "holds no fit of kmeans"),
    ],
)
def test_files_whose_facts_or_tensors_are_no_fits(written: str, message: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "fit", {"spectral_bench": written})
    with pytest.raises(UserError, match=message):
        sb.load(tmp_path / "fit")


def test_a_failed_check_is_still_known_after_loading(tmp_path: Path) -> None:
    """No one may take for sound what was not, only because it went through a file."""
    same = np.ones((4, 3, 4, 5), dtype=np.float32)
    fit = sb.fit("kmeans", same, k=3)
    assert fit.failed_checks
    fit.save(tmp_path / "fit.safetensors")
    assert sb.load(tmp_path / "fit.safetensors").failed_checks == fit.failed_checks


@pytest.mark.filterwarnings("error")
def test_arrays_that_torch_does_not_take_are_taken(features: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", features)
    wanted = sb.fit("kmeans", features, k=3).predict(features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    backwards = features[:, ::-1, ::-1].copy()[:, ::-1, ::-1]
    for given in (mapped, backwards, features.astype(">f4"), features.astype(np.longdouble)):
        assert np.array_equal(sb.fit("kmeans", given, k=3, device=torch.device("cpu")).predict(given), wanted)


GRID = """
name: door
protocols: [whole]
defaults: {dataset: synthetic, backbone: efficientnet_lite0, seeds: [3], subset: 6}
runs:
  - {method: kmeans, params: {k: 4, max_patches: 500}}
  - {method: neuralef_kmeans, params: {k: 4, steps: 3, batch_size: 2, neighbours: 20}}
"""


@pytest.mark.slow
def test_the_bits_are_those_of_the_same_run_of_a_grid(tmp_path: Path) -> None:
    """Of a method that draws patches, and of one that is trained and starts from another fit; scores of records too."""
    (tmp_path / "grid.yaml").write_text(GRID)
    threads = torch.get_num_threads()
    frame = sb.run(tmp_path / "grid.yaml", tmp_path / "store", executor="inline", threads=threads)
    assert list(frame["state"]) == ["done", "done"]
    assert frame["mIoU"].between(0, 1).all()
    levels, pixels = cached(tmp_path / "store", 6)
    for run_id, method in zip(frame["run_id"], frame["method"], strict=True):
        spec = Store.open(tmp_path / "store").fit_record(run_id).spec
        fit = sb.fit(method, levels, pixels=pixels, seed=3, **spec.params)
        fit.save(tmp_path / "fit.safetensors")
        stored = load_file(Store.open(tmp_path / "store").run_folder(run_id) / "fit.safetensors")
        here = load_file(tmp_path / "fit.safetensors")
        assert stored.keys() == here.keys()
        assert all(torch.equal(stored[name], here[name]) for name in stored), method


def cached(store: Path, images: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The training features that the runs read."""
    for meta_file in sorted((store / "features").glob(f"*/{META_FILE}")):
        meta = CacheMeta.model_validate_json(meta_file.read_bytes())
        if len(meta.images) == images:
            cache = FeatureCache(meta_file.parent, meta, reused=True)
            batches = [cache.batch(index, 0, 1) for index in range(images)]
            levels = [torch.cat(parts) for parts in zip(*(batch.features for batch in batches), strict=True)]
            return levels, torch.cat([batch.pixels for batch in batches])
    raise AssertionError("no cache of the training images")


def test_a_seed_may_be_an_integer_of_numpy_and_a_precision_must_be_known() -> None:
    features = np.random.default_rng(0).normal(size=(4, 6, 8, 5)).astype(np.float32)
    assert type(sb.fit("kmeans", features, k=3, seed=np.int64(3)).seed) is int  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r'precision "float16": expected one of float32, bfloat16'):
        sb.fit("kmeans", features, k=3, precision="float16")  # type: ignore[arg-type]
