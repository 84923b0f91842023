"""What a backbone is: one class that states what it makes of an image, what it can be asked for, and how to load it.

Importing this module imports no torch: a grid is planned from what a class states, and its network is loaded by the
worker that needs features. ``docs/backbones.md`` says what is asked of a backbone of one's own.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.explain import explain
from spectral_bench.common.names import unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

Colour = tuple[float, float, float]
"""One number a channel: red, green, blue."""


@dataclass(frozen=True)
class BackboneInfo:
    """What a backbone makes of an image.

    Attributes:
        name: the name used in grids.
        stride: pixels of the input a patch, down and across.
        channels: channels of each level, from low to high.
        family: ``efficientnet``, ``vit``, ``dino`` (the high level is made of keys), ``clip``, ``cnn``, ``own``, or
            ``files`` (features that were computed elsewhere).
        native: (height, width) in pixels to which every input is resized; None: inputs keep their size and are padded.
    """

    name: str
    stride: int
    channels: tuple[int, ...]
    family: str
    native: tuple[int, int] | None = None

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Patches down and across for an input of ``height`` x ``width`` pixels."""
        rows, columns = self.native or (height, width)
        return -(-rows // self.stride), -(-columns // self.stride)

    def cover(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels of the input that the grid spans.

        With padding this is the input's size rounded up to multiples of the stride: what lies beyond the input has to
        be cropped from up-sampled scores. At a native resolution the grid spans exactly the input.
        """
        if self.native is not None:
            return height, width
        rows, columns = self.grid(height, width)
        return rows * self.stride, columns * self.stride

    def of_grid(self, grid: tuple[int, int]) -> BackboneInfo:
        """The same for an image whose grid is known: each file of features has one of its own, which spans its image.

        Of a network, and of files whose stride is stated, the grid follows from the image's size; it is left alone.
        """
        return replace(self, native=grid) if self.family == "files" and self.native is not None else self


class BackboneOptions(BaseModel):
    """Base of a backbone's options: every default, range and unit is stated, and unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Backbone(ABC):
    """A frozen network and what planning must know of it, without loading it.

    A subclass states ``stride`` and ``channels``, and ``mean`` and ``std`` where its inputs are not in [0, 1]; where
    these depend on name or options they are properties. Its objects hold no network: they are made of a name and
    options wherever a fact is asked for, and only ``load`` costs time and memory.

    Args:
        name: as in grids.
        options: complete, as ``complete`` gives them.

    Attributes:
        stride: pixels of the input a patch, down and across.
        channels: of each level, from low to high.
        mean: what is subtracted from RGB in [0, 1], a channel.
        std: by what the rest is divided.
        family: what tables call its kind.
        native: (height, width) in pixels to which every input is resized; None: inputs keep their size, and are padded
            to whole patches.
        Options: its options.
    """

    stride: int
    channels: tuple[int, ...]
    mean: Colour = (0.0, 0.0, 0.0)
    std: Colour = (1.0, 1.0, 1.0)
    family: str = "own"
    native: tuple[int, int] | None = None
    Options: ClassVar[type[BackboneOptions]] = BackboneOptions

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self.options = dict(options)

    @property
    def info(self) -> BackboneInfo:
        """What it makes of an image."""
        return BackboneInfo(self.name, self.stride, tuple(self.channels), self.family, self.native)

    @classmethod
    def complete(cls, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with every default filled in, as plain JSON values.

        Raises:
            ConfigError: an option is unknown (the nearest is suggested), of a wrong type or out of range.
        """
        try:
            return cls.Options.model_validate(dict(options)).model_dump(mode="json")
        except ValidationError as error:
            problems = [explain("option", f"backbone {name}", cls.Options, problem) for problem in error.errors()]
            raise ConfigError("; ".join(problems)) from error

    @abstractmethod
    def digest(self) -> str | None:
        """What tells its weights from any others, such as ``file_digest`` of their file; part of a fit's identity.

        None: they are not on this machine, and ``load`` would fetch them. A backbone without weights gives a word.
        """

    @abstractmethod
    def load(self) -> nn.Module:
        """The network with its weights, on the CPU.

        Torch's global generator is seeded with the option ``seed``, if there is one, else with 0, and afterwards left
        as it was: weights that are drawn from it are the same every time.

        Raises:
            DataError: the weights cannot be had.
        """

    @abstractmethod
    def levels(self, network: nn.Module, inputs: Tensor) -> tuple[Tensor, ...]:
        """The dense features of images.

        Args:
            network: as ``load`` gave it, frozen, in evaluation mode, on the device of the inputs.
            inputs: (B, 3, H, W) float32, normalised; H and W are multiples of ``stride`` (or ``native``).

        Returns:
            (B, H / stride, W / stride, C_l) float32, a level, from low to high.
        """

    def refused(self, height: int, width: int) -> str:
        """Why inputs of so many pixels, padding included, are refused; empty: they are not. Costs nothing."""
        return ""

    def normalisation(self, network: nn.Module) -> tuple[Colour, Colour]:
        """Mean and standard deviation of its inputs; overridden where only the network tells them."""
        return self.mean, self.std


def file_digest(path: Path) -> str | None:
    """The first 16 hexadecimal digits of the SHA-256 of a file; None where there is none."""
    if not path.is_file():
        return None
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


@cache
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file, remembered for as long as its size and time stamp stay what they are."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def complete_weights(
    name: str,
    options: Mapping[str, Any],
    choices: Mapping[str, tuple[str, ...]],
    others: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The options of a backbone that ships, with every default filled in.

    Args:
        name: of the backbone.
        options: as they were given.
        choices: option -> its values, the default first; ``weights`` among them, with ``random`` as a value. The option
            ``seed``, a whole number from 0, goes with that.
        others: options that the caller completes, and that errors name beside these.

    Raises:
        ConfigError: unknown option or value, with the nearest valid one.
    """
    complete: dict[str, Any] = {key: values[0] for key, values in choices.items()}
    complete.update(options)
    for key, value in complete.items():
        if key not in choices and key != "seed":
            raise ConfigError(f"backbone {name}: " + unknown("option", key, [*choices, "seed", *others]))
        if key in choices and value not in choices[key]:
            raise ConfigError(f"backbone {name}: option {key}: " + unknown("value", str(value), choices[key]))
    if complete["weights"] != "random":
        if "seed" in complete:
            raise ConfigError(f"backbone {name}: option seed is for random weights only; add weights: random")
        return complete
    seed = complete.setdefault("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"backbone {name}: option seed: expected a whole number from 0, got {seed!r}")
    return complete
