"""Packages that only some views need."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from spectral_bench.common.errors import ConfigError
from spectral_bench.results.specification import View


def require_crf(views: Iterable[View]) -> None:
    """Refuse views with a CRF where the package that computes it is not installed or cannot be loaded.

    Raises:
        ConfigError: says what to install.
    """
    if all(view.crf is None for view in views):
        return
    try:
        importlib.import_module("pydensecrf.densecrf")
    except ImportError as error:
        raise ConfigError(
            f"a protocol asks for a CRF, but pydensecrf2 is not installed ({error}); "
            'install the extra crf: pip install "spectral-segmentation-bench[crf]"'
        ) from error
