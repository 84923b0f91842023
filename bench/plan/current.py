"""Today's code, as far as records depend on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.code import evaluation_code, fit_code
from common.errors import ConfigError
from results.specification import FitSpec, View


class CurrentCode:
    """Fingerprints of the project as it stands, each combination of parts read once.

    A record may be of a method or a data set that is not here, such as that of a package which is not installed: then
    there is no code of it, and all that the record names has gone.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Mapping[str, str]] = {}

    def fit(self, spec: FitSpec) -> Mapping[str, str]:
        """Module -> fingerprint of what a fit depends on."""
        return self._read((spec.method, spec.data.dataset), lambda: fit_code(spec))

    def evaluation(self, spec: FitSpec, view: View) -> Mapping[str, str]:
        """Module -> fingerprint of what an evaluation depends on besides its fit."""
        return self._read((spec.method, view.dataset, "evaluation"), lambda: evaluation_code(spec, view))

    def _read(self, key: tuple[str, ...], read: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        if key not in self._known:
            try:
                self._known[key] = read()
            except ConfigError:
                self._known[key] = {}
        return self._known[key]
