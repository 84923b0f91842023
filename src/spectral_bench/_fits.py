"""Fit a method on features in memory, and use, save and load what it learnt."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from spectral_bench._arrays import images_of, levels_of, pixels_of
from spectral_bench.bench.measure.environment import reproducible
from spectral_bench.bench.predict.choices import require_fitting, require_known
from spectral_bench.bench.run.context import resolve_device
from spectral_bench.bench.run.in_memory import MemorySource, failed_checks, fit_in_memory, require_no_labels
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.common.files import write_bytes
from spectral_bench.methods.interface import PatchBatch, Segmenter, Spectral
from spectral_bench.methods.labels import predict_scores
from spectral_bench.methods.registry import colours_asked, complete_params, load_method, method_facts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any] | Tensor

logger = logging.getLogger(__name__)

FORMAT = 1
_KEY = "spectral_bench"
_PRECISIONS = ("float32", "bfloat16")
_IMAGES = 8  # looked at together; a method's answer does not depend on it


class Fit:
    """A fitted method.

    Attributes:
        method: its name.
        n_clusters: K.
        seed: of the fit.
        channels: of the levels of features that it was fitted on.
        failed_checks: what the method found wrong with its own fit, in words; empty for a sound fit.
    """

    def __init__(
        self, method: str, params: dict[str, Any], seed: int, channels: tuple[int, ...], fitted: Segmenter
    ) -> None:
        self.method, self.seed, self.channels = method, seed, channels
        self._params, self._fitted = params, fitted
        self._device = torch.device("cpu")
        self.n_clusters = int(fitted.n_clusters)
        self.failed_checks = failed_checks(fitted)

    def __repr__(self) -> str:
        return f"Fit({self.method!r}, k={self.n_clusters}, seed={self.seed})"

    def get_params(self) -> dict[str, Any]:
        """Every parameter of the fit by name, defaults included, as plain values."""
        return dict(self._params)

    def predict(self, features: Array | Sequence[Array], pixels: Array | None = None) -> Any:
        """The cluster of each patch.

        Args:
            features: (M, h, w, C), or a list of levels, with the channels that were fitted; any M, h and w.
            pixels: (M, h, w, 3) RGB in [0, 1]; None: grey. Only methods that compare colours look at them.

        Returns:
            (M, h, w) int64 in [0, K): an array for arrays, a tensor on the same device for tensors.

        Raises:
            UserError: wrong shapes, or numbers that are not finite.

        Example:
            >>> clusters = fit.predict(features)  # doctest: +SKIP
        """
        return self._each(features, pixels, lambda batch: predict_scores(self._fitted, batch).argmax(1))

    def scores(self, features: Array | Sequence[Array], pixels: Array | None = None) -> Any:
        """(M, K, h, w) float32 scores, whose largest one tells a patch's cluster. Otherwise as ``predict``.

        Example:
            >>> soft = torch.softmax(fit.scores(features), 1)  # doctest: +SKIP
        """
        return self._each(features, pixels, lambda batch: predict_scores(self._fitted, batch).float())

    def eigenfunctions(self, features: Array | Sequence[Array], pixels: Array | None = None) -> Any:
        """(M, n, h, w) float32 values of the n eigenfunctions that the fit rests on. Otherwise as ``predict``.

        Raises:
            UserError: the method has none; or as ``predict``.

        Example:
            >>> maps = fit.eigenfunctions(features)[0]  # doctest: +SKIP
        """
        if not isinstance(self._fitted, Spectral):
            raise UserError(f'method "{self.method}" has no eigenfunctions')
        spectral = self._fitted
        return self._each(features, pixels, lambda batch: spectral.eigenfunctions(batch).float())

    def save(self, path: str | Path) -> None:
        """Write the fit into one safetensors file, which ``load`` reads.

        Raises:
            StoreError: the file cannot be written.

        Example:
            >>> fit.save("kmeans.safetensors")  # doctest: +SKIP
        """
        facts = {
            "format": FORMAT,
            "method": self.method,
            "params": self._params,
            "seed": self.seed,
            "channels": list(self.channels),
            "failed_checks": list(self.failed_checks),
        }
        state = {name: value.detach().cpu().contiguous() for name, value in self._fitted.state_dict().items()}
        write_bytes(Path(path), save(state, {_KEY: json.dumps(facts)}))

    def _each(
        self, features: Array | Sequence[Array], pixels: Array | None, look: Callable[[PatchBatch], Tensor]
    ) -> Any:
        levels = levels_of(features)
        channels = tuple(int(level.shape[-1]) for level in levels)
        if channels != self.channels:
            raise UserError(f"features: levels of {channels} channels; this fit knows {self.channels}")
        colours = pixels_of(pixels, levels)
        with reproducible(), torch.inference_mode():
            given = images_of(levels, colours)
            parts = [
                look(given.part(slice(first, first + _IMAGES)).to(self._device)).cpu()
                for first in range(0, len(given), _IMAGES)
            ]
        found = torch.cat(parts).clone()
        like = features[0] if isinstance(features, (list, tuple)) else features
        return found.to(like.device) if isinstance(like, Tensor) else found.numpy()


def fit(
    method: str,
    features: Array | Sequence[Array],
    *,
    pixels: Array | None = None,
    seed: int | None = None,
    random_state: int | None = None,
    device: str | torch.device = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    **params: Any,
) -> Fit:
    """Fit a method on features in memory, with the bits that the same run of a grid has.

    Args:
        method: a name of ``methods()``, or ``path/to/file.py:Class``.
        features: training patches, (M, h, w, C) numpy or torch on any device, or a list of such levels from low to
            high. A grid's run computes from a cache in float16: for its bits, round features to float16 first.
        pixels: (M, h, w, 3) RGB in [0, 1], the images at patch resolution; None: grey.
        seed: of the fit, 0 where it is not said.
        random_state: scikit-learn's name for ``seed``.
        device: where to compute: auto (CUDA where there is one), cpu, cuda or cuda:N, or a device of torch.
        precision: of networks; all else is computed in float32.
        params: parameters of the method by name, as in a grid; ``n_clusters`` is accepted for ``k``.

    Returns:
        The fitted method.

    Raises:
        ConfigError: a name is unknown (the nearest is suggested), a value out of range, or the method needs labels.
        UserError: wrong shapes, or numbers that are not finite.
        NumericalError: the method cannot be fitted on these numbers.

    Example:
        >>> fit = sb.fit("neuralef", features, k=64, epochs=4, seed=0)  # doctest: +SKIP
    """
    method = name_of(method)
    require_known(method)
    require_no_labels(method)
    complete = complete_params(method, with_k(method, params))
    seed = seed_of(seed, random_state)
    require_precision(precision)
    require_plain_colours(method, complete)
    levels = levels_of(features)
    colours = pixels_of(pixels, levels)
    require_fitting(method, complete, len(levels[0]), levels[0][..., 0].numel())
    source, place = MemorySource(images_of(levels, colours), seed), place_of(device)
    with reproducible():
        fitted = fit_in_memory(method, complete, source, seed=seed, device=place, precision=precision)
    made = Fit(method, complete, seed, source.channels, fitted)
    made._device = place
    for failed in made.failed_checks:
        logger.warning("%s has not converged: %s", made, failed)
    return made


def load(path: str | Path, device: str | torch.device = "auto") -> Fit:
    """Read a fit that ``Fit.save`` wrote.

    Args:
        path: the file.
        device: where it shall compute, as for ``fit``.

    Raises:
        UserError: the file is missing, or is no saved fit.
        ConfigError: its method, or one of its parameters, is not known here.

    Example:
        >>> fit = sb.load("kmeans.safetensors")  # doctest: +SKIP
    """
    place, path = place_of(device), Path(path)
    facts, state = _read(path)
    method = facts.method
    params = complete_params(method, facts.params)
    fitted = cast(Any, load_method(method))(method_facts(method).params(**params))
    try:
        fitted.load_state_dict({name: value.to(place) for name, value in state.items()})
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: holds no fit of {method} as this release knows it ({error})") from error
    made = Fit(method, params, facts.seed, facts.channels, fitted)
    made._device, made.failed_checks = place, facts.failed_checks
    return made


def name_of(part: Any, what: str = "method") -> str:
    """The name of a method or backbone. Raises ``ConfigError`` where it is no text."""
    if not isinstance(part, str):
        raise ConfigError(f"{what}: {part!r}; expected a name, or the text path/to/file.py:Class")
    return part


def place_of(device: Any) -> torch.device:
    """The device of a name or of torch's own object. Raises ``ConfigError`` as for ``fit``."""
    if not isinstance(device, (str, torch.device)):
        raise ConfigError(f"device: {device!r}; expected one of auto, cpu, cuda, cuda:N")
    return resolve_device(str(device))


def with_k(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters with ``k`` for ``n_clusters``. Raises ``ConfigError`` where both are given."""
    if "n_clusters" not in params:
        return params
    if "k" in params:
        raise ConfigError(f"{method}: k and n_clusters are the same parameter; give one of them")
    return {**{name: value for name, value in params.items() if name != "n_clusters"}, "k": params["n_clusters"]}


def seed_of(seed: int | None, random_state: int | None) -> int:
    """The one that is given, else 0. Raises ``ConfigError`` where both are given, or it is none that a grid takes."""
    if seed is not None and random_state is not None:
        raise ConfigError("seed and random_state are the same; give one of them")
    chosen = next((value for value in (seed, random_state) if value is not None), 0)
    if isinstance(chosen, bool) or not isinstance(chosen, Integral) or not 0 <= chosen < 2**63:
        raise ConfigError(f"seed: {chosen!r}; expected an integer from 0 on, below 2^63")
    return int(chosen)


def require_plain_colours(method: str, params: dict[str, Any]) -> None:
    """Refuse a method that looks at several colours of a patch. Raises ``ConfigError``."""
    if (samples := colours_asked(method, params).samples) > 1:
        raise ConfigError(
            f"{method}: pixel_grid = {samples}: it looks at {samples} x {samples} colours of each patch, and pixels "
            "are one a patch here; leave it at 1, or use cluster_images or a grid, which have the images"
        )


def require_precision(precision: str) -> None:
    """Refuse a precision that networks do not have. Raises ``ConfigError``."""
    if precision not in _PRECISIONS:
        raise ConfigError(f'precision "{precision}": expected one of {", ".join(_PRECISIONS)}')


class _Facts(BaseModel):
    """What a file says of its fit."""

    model_config = ConfigDict(strict=True)

    method: str
    params: dict[str, Any]
    seed: int
    channels: tuple[int, ...]
    failed_checks: tuple[str, ...] = ()


def _read(path: Path) -> tuple[_Facts, dict[str, Tensor]]:
    try:
        with safe_open(str(path), framework="pt") as file:
            written = (file.metadata() or {}).get(_KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a saved fit ({error})") from error
    if written is None:
        raise UserError(f"{path}: a safetensors file, but not one that Fit.save wrote")
    try:
        found = json.loads(written)
        if isinstance(found, dict) and found.get("format") != FORMAT:
            raise UserError(f"{path}: format {found.get('format')}; this release reads format {FORMAT}")
        return _Facts.model_validate_json(written), state
    except ValueError as error:  # pydantic's and json's
        raise UserError(
            f"{path}: a safetensors file, but what it says of its fit is not what Fit.save wrote"
        ) from error
