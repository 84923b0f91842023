"""Which parameters so few training images or patches cannot do with."""

from __future__ import annotations

from spectral_bench.methods.params import Params


def misfits(params: Params, images: int, patches: int | None) -> dict[str, str]:
    """As ``Params.misfits``, with the bound of ``k`` that holds: of several, the lowest, however large ``k`` is.

    Args:
        params: complete.
        images: training images.
        patches: in all of them; None where that is not known yet.
    """
    found = params.misfits(images, patches)
    if "k" not in found:
        return found
    # A method names the first bound that is passed: the lowest is the one that the smallest k too large passes alone.
    low, high = 0, int(getattr(params, "k", None) or 0)
    while high - low > 1:
        middle = (low + high) // 2
        if "k" in params.model_copy(update={"k": middle}).misfits(images, patches):
            high = middle
        else:
            low = middle
    # A method of a user's own may judge k in another way than by bounds.
    lowest = params.model_copy(update={"k": high}).misfits(images, patches)
    return found | {"k": lowest.get("k", found["k"])}
