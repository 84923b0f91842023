"""Which backbones there are, and what each says of itself. Importing this file imports no torch.

Found by name are those that ship, every vision transformer of timm, and those of other packages (entry points of the
group ``spectral_bench.backbones``); a backbone of one's own is ``path/to/file.py:Class``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from spectral_bench.bench.code.fingerprint import fingerprint, is_own_file
from spectral_bench.bench.features.backbones.interface import Backbone, BackboneInfo, BackboneOptions
from spectral_bench.bench.features.backbones.timm_names import (
    is_staged,
    is_transformer,
    staged_names,
    transformer_names,
)
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.common.names import few, unknown
from spectral_bench.common.registry import Registry, is_from_files, is_path
from spectral_bench.methods.imports import forbidden_in
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import own_name

if TYPE_CHECKING:
    import torch

    from spectral_bench.bench.features.backbones.network import FrozenNetwork

_HERE = "spectral_bench.bench.features.backbones"

BACKBONES = {"efficientnet_lite0": f"{_HERE}.efficientnet_lite0:EfficientNetLite0"}
"""Those that ship under a name of their own."""

FAMILY = f"{_HERE}.timm_vit:TimmTransformer"
"""The class of all vision transformers that ``timm_names`` knows."""

STAGED = f"{_HERE}.timm_stages:TimmStages"
"""The class of all networks with a map a stage that it knows."""

ELSEWHERE = "spectral_bench.bench.features.from_files"
"""The module that reads features that were computed elsewhere (``files:TITLE``)."""

GROUP = "spectral_bench.backbones"

REGISTRY = Registry("backbone", BACKBONES, GROUP)

ALLOWED = ("common", "bench.features.backbones")
"""Parts of the package that the file of a backbone may import."""

WHY = "a backbone sees images, never data sets, the harness or its results"


def backbone_names() -> tuple[str, ...]:
    """All names: ``efficientnet_lite0``, networks of the installed timm, transformers first, those of other packages.

    A network of timm may be followed by a dot and one of timm's pretrained tags, as in ``vit_small_patch16_224.dino``.
    """
    shipped = (*BACKBONES, *transformer_names(), *staged_names())
    return (*shipped, *sorted({point.name for point in entry_points(group=GROUP)} - set(shipped)))


def is_own(name: str) -> bool:
    """Whether a backbone is of the user's own, a file or an entry point, and does not ship."""
    if name in BACKBONES or is_from_files(name):
        return False
    return is_path(name) or not (is_transformer(name) or is_staged(name))


def module_of(name: str) -> str:
    """The module that holds a backbone, or the path of its file; imports nothing.

    Raises:
        ConfigError: the name is unknown; the nearest is suggested.
    """
    if is_from_files(name):
        return ELSEWHERE
    if not is_own(name) and name not in BACKBONES:
        return (STAGED if is_staged(name) else FAMILY).partition(":")[0]
    _require_known(name)
    return REGISTRY.module(name)


def content_name(name: str, *, loaded: bool = False) -> str:
    """What tells a backbone from any other: its name; of one's own its class and a digest of its code.

    The code is its file, and all modules of the user's own that it imports; that of an entry point is told by the
    release of its package too. Where files lie does not count.

    Args:
        name: as in grids.
        loaded: of the code that this process has loaded, where it has; else of what lies on disk today.
    """
    if not is_own(name):
        return name
    code = {file: hashed for file, hashed in fingerprint([module_of(name)], loaded=loaded).items() if is_own_file(file)}
    if is_path(name):
        return f"{own_name(name)}:{digest(code)}"
    release = next((point.dist.version for point in entry_points(group=GROUP, name=name) if point.dist), "")
    return f"{name}:{digest([release, code])}"


def backbone_class(name: str) -> type[Backbone]:
    """The class of a backbone. The code of one's own is read before it is executed.

    Raises:
        ConfigError: the name is unknown (the nearest is suggested), what it names is no backbone, or its code imports
            what no backbone may.
    """
    if is_from_files(name):
        from spectral_bench.bench.features.files import Elsewhere

        return Elsewhere
    if not is_own(name):
        shipped: type[Backbone] = REGISTRY.load(name) if name in BACKBONES else _family(name)
        return shipped
    _require_known(name)
    if found := forbidden_in(REGISTRY.module(name), ALLOWED):
        raise ConfigError(f"backbone {name}: {few(found)}: {WHY}")
    loaded = REGISTRY.load(name)
    if not (isinstance(loaded, type) and issubclass(loaded, Backbone)):
        raise ConfigError(f"{name} is not a backbone: expected a subclass of {_HERE}.Backbone")
    if inspect.isabstract(loaded):
        raise ConfigError(f"backbone {name}: it does not define {', '.join(sorted(loaded.__abstractmethods__))}")
    if not (isinstance(loaded.Options, type) and issubclass(loaded.Options, BackboneOptions)):
        raise ConfigError(f"backbone {name}: its Options must be a subclass of {_HERE}.BackboneOptions")
    # A name alone stands for a backbone at its defaults, such as those that tables leave out.
    if needed := [key for key, field in loaded.Options.model_fields.items() if field.is_required()]:
        raise ConfigError(f"backbone {name}: its Options state no default of {', '.join(needed)}")
    return loaded


def backbone(name: str, options: Mapping[str, Any] | None = None) -> Backbone:
    """A backbone with these options, the rest at their defaults; its network is not loaded.

    Raises:
        ConfigError: unknown backbone, option or value, or what it states of itself cannot be.
    """
    cls = backbone_class(name)
    with _told(name, "its options"):
        complete = cls.complete(name, options or {})
    with _told(name, "its stride and channels"):
        made = cls(name, complete)
        info = made.info
    if is_own(name):
        _require_facts(info)
    return made


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a backbone with every default filled in, as plain JSON values.

    Raises:
        ConfigError: unknown backbone, option or value, with the nearest valid one, or weights that belong to another
            activation function.
    """
    return backbone(name, options).options


def backbone_info(name: str, options: Mapping[str, Any] | None = None) -> BackboneInfo:
    """Stride, channels and family of a backbone.

    Raises:
        ConfigError: unknown backbone or option, or a network whose patches are not square.
    """
    return backbone(name, options).info


def weights_digest(name: str, options: Mapping[str, Any] | None = None) -> str | None:
    """What tells the weights from any others: of a file, the first 16 hexadecimal digits of its SHA-256.

    ``random-<seed>`` for random weights; None where they are not on this machine (a hub that was not asked yet).

    Raises:
        ConfigError: unknown backbone or option, or there are no weights of this name.
    """
    made = backbone(name, options)
    with _told(name, "the digest of its weights"):
        found = made.digest()
    if found is not None and not (isinstance(found, str) and found.isprintable() and 0 < len(found) <= 64):
        raise ConfigError(f"backbone {name}: the digest of its weights is {found!r}; expected 1 to 64 characters")
    return found


def load_backbone(name: str, options: Mapping[str, Any] | None, device: torch.device | str) -> FrozenNetwork:
    """The frozen network in evaluation mode on ``device``. Imports torch.

    Raises:
        ConfigError: unknown backbone or option, or there are no weights of this name.
        DataError: the weights are not on this machine and could not be fetched.
    """
    from spectral_bench.bench.features.backbones.network import load_network

    return load_network(backbone(name, options), device)


def _family(name: str) -> type[Backbone]:
    if is_staged(name):
        from spectral_bench.bench.features.backbones.timm_stages import TimmStages

        return TimmStages
    from spectral_bench.bench.features.backbones.timm_vit import TimmTransformer

    return TimmTransformer


def _require_known(name: str) -> None:
    if is_path(name) or name in BACKBONES or name in REGISTRY.names():  # the last looks through installed packages
        return
    first, _, tag = name.partition(".")
    if first in REGISTRY.names():
        raise ConfigError(f"backbone {name}: " + unknown("pretrained tag", tag, ()))
    # Of names that begin so, ours is meant: timm has efficientnet_lite1 and others.
    ours = tuple(own for own in BACKBONES if own.startswith(first))
    rivals = [other for other in backbone_names() if not (ours and other.startswith(first)) or other in ours]
    raise ConfigError(unknown("backbone", name if ":" in name else first, rivals))  # else an odd path


def _require_facts(info: BackboneInfo) -> None:
    """Refuse what is no number of pixels or channels, before anything is planned with it."""
    sides = (1, 1) if info.native is None else info.native
    paired = isinstance(sides, tuple | list) and len(sides) == 2
    whole = [info.stride, *info.channels, *(sides if paired else ())]
    if not paired or not info.channels or not all(type(number) is int and number > 0 for number in whole):
        raise ConfigError(
            f"backbone {info.name}: stride {info.stride!r}, channels {info.channels!r}, native {info.native!r}: "
            "expected whole numbers from 1, and at least one level; native: height and width, or None"
        )


@contextmanager
def _told(name: str, what: str) -> Iterator[None]:
    """Say of which backbone an error is that its own code raises."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise ConfigError(f"backbone {name}: {what}: {type(error).__name__}: {error}") from error
