"""What every backbone must keep: checks that run in a moment on small images, for those that ship and for others.

``violations(Subject("path/to/file.py:Mine"))`` lists what a backbone breaks; it is empty for one that keeps all.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal, get_origin

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from spectral_bench.bench.features.backbones.interface import Backbone
from spectral_bench.bench.features.backbones.network import FrozenNetwork, load_network
from spectral_bench.bench.features.backbones.registry import (
    ALLOWED,
    WHY,
    backbone,
    is_own,
    load_backbone,
    module_of,
    weights_digest,
)
from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.imports import forbidden_in

BATCH_TOLERANCE = 1e-4
"""How far the features of an image may depend on its batch: a share of the largest feature."""

DEVICE_TOLERANCE = 1e-2
"""How far features on another device may lie from those on the CPU: a share of the largest feature."""

NOT_LOADED = "cannot be judged: it does not load"


class ContractViolation(AssertionError):
    """A backbone does not keep a promise that the harness relies on."""


@dataclass(frozen=True)
class Subject:
    """A backbone under test.

    Attributes:
        name: as in grids, or ``path/to/file.py:Class``.
        options: as in grids.
        device: where it computes, as torch names it.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def described(self) -> Backbone:
        """The backbone, not loaded."""
        return backbone(self.name, self.options)

    @cached_property
    def network(self) -> FrozenNetwork:
        """The loaded network on its device."""
        return load_network(self.described, self.device)

    def images(self, height: int, width: int, count: int = 3) -> Tensor:
        """(count, 3, height, width) images of noise in [0, 1], the same every time, on the device."""
        generator = torch.Generator().manual_seed(0)
        return torch.rand(count, 3, height, width, generator=generator).to(self.device)

    @property
    def sides(self) -> tuple[int, int]:
        """A (height, width) of an image that is no multiple of the stride."""
        return 3 * self.described.stride + 1, 4 * self.described.stride - 1


def facts(subject: Subject) -> None:
    """What it states of itself can be, and does not change; its options are complete and plain."""
    first, again = subject.described, subject.described
    _demand(first.info == again.info, f"it states {first.info}, and asked again {again.info}")
    options = first.options
    _demand(json.loads(json.dumps(options)) == options, f"its complete options are no plain values: {options!r}")
    completed = type(first).complete(subject.name, options)
    _demand(completed == options, f"its complete options {options!r}, completed again, are {completed!r}")


def firewall(subject: Subject) -> None:
    """Neither its file nor a module of its own imports a data set, through which it could reach labels."""
    if is_own(subject.name):
        found = forbidden_in(module_of(subject.name), ALLOWED)
        _demand(not found, f"{', '.join(found)}: {WHY}")


def refusals(subject: Subject) -> None:
    """Options that are unknown or out of range are refused in one line that names them."""
    for bad in _bad_options(subject.described):
        ((key, value),) = bad.items()
        try:
            backbone(subject.name, {**subject.options, **bad})
        except ConfigError as error:
            text = str(error)
            _demand(key in text and "\n" not in text, f"option {key} = {value!r} is refused in other words: {text!r}")
        else:
            raise ContractViolation(f"option {key} = {value!r} must be refused")


def load(subject: Subject) -> None:
    """It loads, and its inputs are normalised by three finite numbers a colour."""
    for name, colour in (("mean", subject.network.mean), ("std", subject.network.std)):
        numbers = colour.flatten().tolist()
        valid = all(math.isfinite(number) and (name == "mean" or number > 0) for number in numbers)
        _demand(valid, f"its {name} is {numbers}")


def weights(subject: Subject) -> None:
    """One digest for the same weights, others for others, and one at the latest when they are loaded."""
    _ = subject.network
    first, again = (weights_digest(subject.name, subject.options) for _ in range(2))
    _demand(first is not None, "its weights are loaded, and it gives no digest of them")
    _demand(first == again, f"the digest of its weights is {first!r}, and asked again {again!r}")
    seed = subject.described.options.get("seed")
    if not isinstance(seed, int):
        return
    other = replace(subject, options={**subject.options, "seed": seed + 1})
    named = weights_digest(other.name, other.options)
    _demand(named != first, f"seeds {seed} and {seed + 1} give weights of one digest, {first!r}")
    same = all(map(torch.equal, _features(subject), _features(other)))
    _demand(not same, f"seeds {seed} and {seed + 1} give the same features under two digests")


def levels(subject: Subject) -> None:
    """Levels are finite float32 of the stated shape, whole patches for images of any size, on the images' device."""
    stride, info = subject.described.stride, subject.described.info
    for height, width in ((stride, stride), (1, 2), subject.sides):
        images = subject.images(height, width)
        found = subject.network.features(images)  # refuses other shapes than stated
        for number, level in enumerate(found):
            what = f"level {number} of images of {height} x {width} pixels"
            shape = (3, *info.grid(height, width), info.channels[number])
            _demand(tuple(level.shape) == shape, f"{what} has shape {tuple(level.shape)}, expected {shape}")
            _demand(level.dtype == torch.float32, f"{what} is {level.dtype}, expected float32")
            _demand(level.device == images.device, f"{what} is on {level.device}, expected {images.device}")
            _demand(bool(level.isfinite().all()), f"{what} is not finite")
    for colour in (0.0, 1.0):
        found = subject.network.features(torch.full_like(subject.images(*subject.sides, 1), colour))
        _demand(all(bool(level.isfinite().all()) for level in found), f"an image of {colour:.0f} is not finite")


def determinism(subject: Subject) -> None:
    """The same bits each time it is loaded and asked, whatever the global generator does, which stays as it was."""
    first = _features(subject)
    _demand(all(map(torch.equal, first, _features(subject))), "features of the same image differ")
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    again = _features(replace(subject))
    _demand(all(map(torch.equal, first, again)), "loaded again, it gives other features")
    _demand(torch.equal(before, torch.random.get_rng_state()), "the global random generator was used")


def batch_size(subject: Subject) -> None:
    """The features of an image do not depend on what else is in the batch, to 1e-4 of the largest feature."""
    stride = subject.described.stride
    height, width = subject.described.native or (3 * stride, 4 * stride)
    inputs = (subject.images(height, width, 4) - subject.network.mean) / subject.network.std
    levels_of = partial(subject.described.levels, subject.network.network)
    with torch.no_grad():
        together = levels_of(inputs.clone())
        for size in (1, 3):
            parts = [levels_of(part) for part in torch.split(inputs.clone(), size)]
            gap = _gap(together, tuple(torch.cat(level) for level in zip(*parts, strict=True)))
            _demand(gap <= BATCH_TOLERANCE, f"features in batches of {size} differ by {gap:.2g} from those in one of 4")


def frozen(subject: Subject) -> None:
    """Features carry no gradient, the network is in evaluation mode, and nothing of it or of its inputs changes."""
    images = subject.images(*subject.sides)
    state, shown = {name: tensor.clone() for name, tensor in subject.network.state_dict().items()}, images.clone()
    subject.network.features(images)
    _demand(not any(p.requires_grad for p in subject.network.parameters()), "parameters ask for gradients")
    _demand(not any(m.training for m in subject.network.modules()), "the network is in training mode")
    now = subject.network.state_dict()
    changed = [name for name in state if name not in now or not torch.equal(state[name], now[name])]
    _demand(not changed, f"looking at images changes {', '.join(changed)}")
    stride = subject.described.stride
    inputs = subject.images(*(subject.described.native or (stride, stride)))
    kept = inputs.clone()
    with torch.no_grad():
        found = subject.described.levels(subject.network.network, inputs)
    _demand(not any(level.requires_grad for level in found), "features carry a gradient")
    _demand(torch.equal(images, shown) and torch.equal(inputs, kept), "levels changes its inputs")


def process(subject: Subject) -> None:
    """It can be sent to a process of its own, which gets the same bits from it; looked at on the CPU."""
    try:
        back = pickle.loads(pickle.dumps(subject.described))
    except Exception as error:
        raise ContractViolation(f"it cannot be pickled: {type(error).__name__}: {error}") from error
    _demand(back.info == subject.described.info, "pickled and read back, it states something else")
    here = replace(subject, device="cpu")
    context = multiprocessing.get_context("forkserver")  # which imports what is heavy once, however many are checked
    context.set_forkserver_preload(["timm", __name__])
    with context.Pool(1) as pool:
        there = pool.apply(features_digest, (here.name, dict(here.options), here.sides))
    _demand(there == _digest(_features(here)), "another process gets other features from it")


def device(subject: Subject) -> None:
    """All of it is where it was asked to be, and what it makes there is what it makes on the CPU, to 1 %."""
    places = {str(t.device) for t in (*subject.network.parameters(), *subject.network.buffers())}
    wanted = {str(torch.empty(0, device=subject.device).device)}
    _demand(places == wanted, f"it was loaded on {', '.join(sorted(wanted))}, and lies on {', '.join(sorted(places))}")
    if torch.device(subject.device).type != "cpu":
        on_cpu = _features(replace(subject, device="cpu"))
        gap = _gap(on_cpu, tuple(level.cpu() for level in _features(subject)))
        _demand(gap <= DEVICE_TOLERANCE, f"features on {subject.device} differ by {gap:.2g} from those on the CPU")


WITHOUT_NETWORK = (facts, firewall, refusals)

CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (*WITHOUT_NETWORK, load, weights, levels, determinism, batch_size, frozen, process, device)
}


def violations(subject: Subject) -> dict[str, str]:
    """What a backbone breaks: name of the check -> what was found, in one line; empty where it keeps everything."""
    found: dict[str, str] = {}
    for name, check in CHECKS.items():
        if "load" in found:
            found[name] = NOT_LOADED
            continue
        try:
            check(subject)
        except Exception as error:
            prefix = "" if isinstance(error, ContractViolation) else f"{type(error).__name__}: "
            found[name] = prefix + " ".join(str(error).split())
    return found


def features_digest(name: str, options: Mapping[str, Any], sides: tuple[int, int]) -> str:
    """A digest of the features of the standard images, in the process that asks."""
    return _digest(load_backbone(name, options, "cpu").features(Subject(name, options).images(*sides)))


def _features(subject: Subject) -> tuple[Tensor, ...]:
    return subject.network.features(subject.images(*subject.sides))


def _digest(found: tuple[Tensor, ...]) -> str:
    content = hashlib.sha256()
    for level in found:
        content.update(level.contiguous().numpy().tobytes())
    return content.hexdigest()


def _gap(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    """The largest difference, as a share of the largest value of its level."""
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-12)) for a, b in zip(one, other, strict=True))


def _bad_options(described: Backbone) -> Iterator[dict[str, Any]]:
    """Options one at a time that no backbone takes, and those outside of the ranges that its own options state."""
    yield {"no_such_option": 1}
    if "weights" in described.options:
        yield {"weights": "no such weights"}
    if isinstance(described.options.get("seed"), int):
        yield {"seed": -1}
    for key, stated in type(described).Options.model_fields.items():
        if isinstance(described.options.get(key), int | float):
            yield {key: "many"}
        if get_origin(stated.annotation) is Literal:
            yield {key: "no such value"}
        for limit in stated.metadata:
            bad = _beyond(limit)
            if bad is not None:
                yield {key: bad}


def _beyond(limit: object) -> Any:
    """A value just outside of one limit of a range; None where it is none."""
    match limit:
        case Ge(low):
            return low - 1  # type: ignore[operator]
        case Gt(bound) | Lt(bound):
            return bound
        case Le(high):
            return high + 1  # type: ignore[operator]
    return None


def _demand(kept: bool, violation: str) -> None:
    if not kept:
        raise ContractViolation(violation)
