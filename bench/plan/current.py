"""Today's code, as far as records depend on it."""

from __future__ import annotations

from collections.abc import Mapping

from bench.code import evaluation_code, fit_code
from results.specification import FitSpec, View


class CurrentCode:
    """Fingerprints of the project as it stands, each combination of parts read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Mapping[str, str]] = {}

    def fit(self, spec: FitSpec) -> Mapping[str, str]:
        """Module -> fingerprint of what a fit depends on."""
        key = (spec.method, spec.data.dataset, spec.backbone.name)
        if key not in self._known:
            self._known[key] = fit_code(spec)
        return self._known[key]

    def evaluation(self, spec: FitSpec, view: View) -> Mapping[str, str]:
        """Module -> fingerprint of what an evaluation depends on besides its fit."""
        key = (spec.method, view.dataset, spec.backbone.name, "evaluation")
        if key not in self._known:
            self._known[key] = evaluation_code(spec, view)
        return self._known[key]
