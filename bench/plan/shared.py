"""What many rows of a grid have in common, worked out once: methods, protocols on a data set, and backbones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from spectral_bench.bench.code.own_methods import require_own_imports
from spectral_bench.bench.grid.keys import RunSettings
from spectral_bench.bench.plan.backbone import backbone_spec
from spectral_bench.bench.protocols.catalogue import load
from spectral_bench.bench.protocols.definition import Definition
from spectral_bench.bench.protocols.resolve import resolve
from spectral_bench.common.documents.nodes import Node
from spectral_bench.common.documents.problems import Problems
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.methods.registry import MethodFacts, method_facts
from spectral_bench.results.specification import BackboneSpec, Protocol


class SharedParts:
    """Parts of the rows of one grid. What is not valid is not kept: each row that has it says so at its own place.

    Args:
        folder: the folder of the grid, which paths of protocols start from.
        weights: backbone -> digest, as the store knows them.
    """

    def __init__(self, folder: Path, weights: Mapping[str, str]) -> None:
        self.folder = folder
        self._weights = weights
        self._protocols: dict[tuple[object, ...], tuple[Definition, Protocol]] = {}
        self._backbones: dict[tuple[str, str], BackboneSpec] = {}
        self._methods: dict[str, MethodFacts] = {}

    def method(self, name: str) -> MethodFacts:
        """The facts of a method whose code imports nothing that no method may, which is seen to before it is loaded.

        Raises:
            ConfigError: as ``methods.registry.method_facts`` and ``bench.code.own_methods.require_own_imports``.
        """
        if name not in self._methods:
            require_own_imports(name)
            self._methods[name] = method_facts(name)
        return self._methods[name]

    def protocol(self, reference: Node, info: DataInfo, settings: RunSettings) -> tuple[Definition, Protocol]:
        """A protocol as it is defined, and resolved for the data set that a run is evaluated on.

        Args:
            reference: a name, a path or a mapping, as the grid has it; it must live as long as this object.
            info: the data set ``settings.dataset``.
            settings: the run; its split and number of images are those of the protocol unless that states its own.

        Raises:
            ConfigError: as ``bench.protocols.catalogue.load`` and ``bench.protocols.resolve.resolve``.
        """
        # Rows name the same protocol through nodes of their own, but share the node of one that is written out.
        written = reference.value if isinstance(reference.value, str) else id(reference)
        key = (written, info.name, settings.split, settings.eval_subset)
        if key not in self._protocols:
            definition = load(reference, self.folder)
            protocol = resolve(definition, info, split=settings.split, subset=settings.eval_subset)
            self._protocols[key] = definition, protocol
        return self._protocols[key]

    def backbone(self, settings: RunSettings, node: Callable[[str], Node], problems: Problems) -> BackboneSpec | None:
        """As ``bench.plan.backbone.backbone_spec``; runs of the same backbone share one object."""
        key = (settings.backbone, repr(settings.backbone_options))
        spec = self._backbones.get(key) or backbone_spec(settings, node, self._weights, problems)
        if spec is not None:
            self._backbones[key] = spec
        return spec
