"""Networks of timm: how they are built, and where their weights are had from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from spectral_bench.bench.features.backbones.interface import file_digest
from spectral_bench.bench.features.backbones.timm_names import (
    is_clip,
    is_quick,
    other_activation,
    pools_by_attention,
    split_name,
    wants_quick_gelu,
)
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.registry import is_weights_file

if TYPE_CHECKING:
    from torch import nn

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def digest_of(name: str, options: Mapping[str, Any]) -> str | None:
    """What tells the weights of a network of timm from any others.

    Args:
        name: architecture, or architecture and tag.
        options: complete: ``weights``, and ``seed`` where they are random.

    Returns:
        That of the file, the hub's or one's own; None where the hub's was not fetched; ``random-<seed>`` if random.

    Raises:
        DataError: the file of one's own is not there.
    """
    if options["weights"] == "random":
        return f"random-{options['seed']}"
    if is_weights_file(options["weights"]):
        own = file_digest(Path(options["weights"]))
        if own is None:
            raise DataError(f"backbone {name}: weights {options['weights']}: no such file")
        return own
    path = hub_file(name)
    return None if path is None else file_digest(path)


def loaded(name: str, options: Mapping[str, Any], **settings: Any) -> nn.Module:
    """A network of timm with the weights that its options name; arguments as for ``digest_of``, ``build_network``."""
    network = build_network(name, pretrained=options["weights"] == "hub", **settings)
    if is_weights_file(options["weights"]):
        from spectral_bench.bench.features.backbones.checkpoint import load_checkpoint

        load_checkpoint(network, Path(options["weights"]), name)
    return network


def build_network(name: str, *, pretrained: bool, joint: int = 0, **settings: Any) -> nn.Module:
    """A network of timm without classifier, in evaluation mode.

    Args:
        name: architecture, or architecture and tag.
        pretrained: load timm's weights (from the hub's cache, else over the network).
        joint: channels of the space that it shares with a text network; its projection to it, the classifier to timm,
            is kept. 0: there is none.
        settings: what timm is told besides.

    Raises:
        ConfigError: timm has no weights of this name, or cannot build the network.
        DataError: the weights could not be had.
    """
    import timm

    architecture, tag = split_name(name)
    full = f"{architecture}.{tag}" if tag else architecture
    if pretrained:
        _require_hub(name, full, pretrained_config(name))  # timm would go on with random weights where it has none
    classes = 0 if pools_by_attention(architecture) else joint
    # timm would draw a projection of another width anew, without a word.
    if pretrained and classes and (found := pretrained_config(name).num_classes) != classes:
        raise DataError(f"backbone {name}: its projection has {found} channels, expected the {joint} shared with texts")
    try:
        network: nn.Module = timm.create_model(full, pretrained=pretrained, num_classes=classes, **settings)
    except Exception as error:
        if not pretrained:
            raise ConfigError(f"backbone {name}: timm cannot build it ({type(error).__name__}: {error})") from error
        raise DataError(_no_weights(name, full, error)) from error
    return network.eval()


def _require_hub(name: str, full: str, config: Any) -> None:
    """Ask the hub once for weights that are not here: its own client tries each file six times, for minutes.

    Raises:
        DataError: it does not answer, or not with such a file.
    """
    if not config.hf_hub_id or hub_file(name) is not None:
        return
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    repository, _, revision = config.hf_hub_id.partition("@")
    for file in (config.hf_hub_filename,) if config.hf_hub_filename else _HUB_FILES:
        try:
            get_hf_file_metadata(hf_hub_url(repository, file, revision=revision or None))
        except EntryNotFoundError:
            continue
        except Exception as error:
            raise DataError(_no_weights(name, full, error)) from error
        return


def hub_file(name: str) -> Path | None:
    """Where the weights of a network lie on this machine, or None; never asks the network. Imports timm.

    Raises:
        ConfigError: timm has no pretrained weights of this name.
    """
    config = pretrained_config(name)
    if config.hf_hub_id:
        return _cached_hub_file(config.hf_hub_id, config.hf_hub_filename)
    import torch

    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(config.url).path).name
    return file if file.is_file() else None


def pretrained_config(name: str) -> Any:
    """timm's description of the pretrained weights of a network.

    Raises:
        ConfigError: timm has no pretrained weights of this name, or they were trained with quick-GELU and the name
            stands for plain GELU.
    """
    architecture, tag = split_name(name)
    config = _registered(f"{architecture}.{tag}" if tag else architecture)
    if config is None or not (config.hf_hub_id or config.url):
        raise ConfigError(
            f"backbone {name}: timm has no pretrained weights of this name; choose another name or tag, "
            "or ask for untrained ones by the option weights: random"
        )
    _require_activation(name, architecture, config)
    return config


def _require_activation(name: str, architecture: str, config: Any) -> None:
    """Names were checked by a table; here timm's registry has the last word, and its notes."""
    if not is_clip(architecture) or is_quick(architecture):
        return
    right = f"{other_activation(architecture)}.{config.tag}"
    noted = any("quickgelu" in str(note).lower() for note in config.notes or ())
    if noted or _registered(right) is not None:
        raise ConfigError(wants_quick_gelu(name, right))


def _registered(full: str) -> Any:
    """timm's description of an architecture, or of an architecture and tag; None where it has none."""
    from timm.models import get_pretrained_cfg

    try:
        return get_pretrained_cfg(full)
    except RuntimeError:  # the architecture is known, and the tag is not
        return None


def _cached_hub_file(hub_id: str, filename: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = hub_id.partition("@")
    for candidate in (filename,) if filename else _HUB_FILES:
        found = try_to_load_from_cache(repository, candidate, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def _no_weights(name: str, full: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or ["no details"])[0]
    fetch = f"import timm; timm.create_model('{full}', pretrained=True)"
    return (
        f"backbone {name}: its weights are not on this machine (looked for in {_weights_folder(name)}) and could not "
        f'be fetched ({type(error).__name__}: {reason}). On a machine with access to the hub run python -c "{fetch}", '
        "copy that folder from there to here ($HF_HOME and $HF_HUB_CACHE move it), and set HF_HUB_OFFLINE=1, so that "
        "nobody asks the hub again; or choose efficientnet_lite0, whose weights need no hub"
    )


def _weights_folder(name: str) -> Path:
    """Where the weights of a network are looked for."""
    config = pretrained_config(name)
    if not config.hf_hub_id:
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints"
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{config.hf_hub_id.partition('@')[0].replace('/', '--')}"
