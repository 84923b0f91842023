"""Today's code, as far as records depend on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from spectral_bench.bench.code.dependencies import evaluation_code, fit_code
from spectral_bench.common.errors import ConfigError


class CurrentCode:
    """Fingerprints of the project as it stands, each combination of parts read once.

    A record may be of a method or a data set that is not here, such as that of a package which is not installed: then
    there is no code of it, and all that the record names has gone.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Mapping[str, str]] = {}

    def fit(self, method: str, dataset: str) -> Mapping[str, str]:
        """Module -> fingerprint of what a fit on a data set depends on."""
        return self._read("fit", method, dataset, fit_code)

    def evaluation(self, method: str, dataset: str) -> Mapping[str, str]:
        """Module -> fingerprint of what an evaluation on a data set depends on besides its fit."""
        return self._read("evaluation", method, dataset, evaluation_code)

    def _read(
        self, part: str, method: str, dataset: str, read: Callable[[str, str], Mapping[str, str]]
    ) -> Mapping[str, str]:
        key = (part, method, dataset)
        if key not in self._known:
            try:
                self._known[key] = read(method, dataset)
            except ConfigError:
                self._known[key] = {}
        return self._known[key]
