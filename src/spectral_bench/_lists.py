"""What there is to choose from."""

from __future__ import annotations


def methods() -> tuple[str, ...]:
    """The names of all methods: those that ship, in the order of tables, then those of other packages.

    Example:
        >>> import spectral_bench as sb
        >>> "neuralef" in sb.methods()
        True
    """
    from spectral_bench.methods.registry import names

    return names()


def datasets() -> tuple[str, ...]:
    """The names of all data sets; one's own is ``folder:PATH.yaml``.

    Example:
        >>> import spectral_bench as sb
        >>> "camvid" in sb.datasets()
        True
    """
    from spectral_bench.datasets.registry import names

    return names()


def backbones() -> tuple[str, ...]:
    """The names of backbones; any ViT of timm is one by its name, listed here or not.

    Example:
        >>> import spectral_bench as sb
        >>> "efficientnet_lite0" in sb.backbones()
        True
    """
    from spectral_bench.bench.features.backbones import backbone_names

    return tuple(backbone_names())
