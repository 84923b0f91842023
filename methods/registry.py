"""Which methods there are, and what planning must know of them. Importing this file imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.explain import explain
from spectral_bench.common.registry import Registry, absolute_name, is_path
from spectral_bench.methods import params as _params
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.maskclip.params import MaskClipParams
from spectral_bench.methods.neuralef import params as _neuralef
from spectral_bench.methods.neuralsvd.params import NeuralSVDParams
from spectral_bench.methods.nystrom.params import NystromParams
from spectral_bench.methods.params import Colours, Params
from spectral_bench.methods.reco.params import ReCoParams
from spectral_bench.methods.self_training.params import SelfTrainingParams
from spectral_bench.methods.spectralnet.params import SpectralNetParams

if TYPE_CHECKING:
    from spectral_bench.methods.interface import Segmenter


ANY = "any"
"""``fit_from`` of a method that starts from any other: the one that its parameter ``start`` names, of ``starts``."""


@dataclass(frozen=True)
class MethodFacts:
    """What planning and tables must know of a method.

    Attributes:
        name: as in grids.
        summary: one line.
        params: its parameter model.
        uses_labels: whether its fit is handed labels; such a method is marked and kept out of rankings.
        fit_from: the method whose stored fit it starts from, ``ANY``, or None.
        classes_as_clusters: whether cluster j is class j, so that K is the number of classes.
        labels_at_prediction: whether it looks at the labels of the images that are evaluated: an oracle.
        side_by_side: whether several of its fits may go on in one process, in turns: they meet in no global state.
    """

    name: str
    summary: str
    params: type[Params]
    uses_labels: bool = False
    fit_from: str | None = None
    classes_as_clusters: bool = False
    labels_at_prediction: bool = False
    side_by_side: bool = False


@dataclass(frozen=True)
class _Entry:
    path: str
    facts: MethodFacts


def _entry(path: str, name: str, summary: str, params: type[Params], **facts: Any) -> tuple[str, _Entry]:
    return name, _Entry(path, MethodFacts(name, summary, params, side_by_side=True, **facts))


METHODS: Mapping[str, _Entry] = dict(
    (
        _entry("spectral_bench.methods.kmeans:KMeans", "kmeans", "k-means on patch features", _params.KMeansParams),
        _entry(
            "spectral_bench.methods.neuralef.method:NeuralEF",
            "neuralef",
            "a network trained to approximate the eigenfunctions of a patch kernel, made discrete by Gumbel-softmax",
            _neuralef.NeuralEFParams,
        ),
        _entry(
            "spectral_bench.methods.neuralef.kmeans:NeuralEFKMeans",
            "neuralef_kmeans",
            "k-means on the hidden features of a stored NeuralEF fit",
            _neuralef.NeuralEFKMeansParams,
            fit_from="neuralef",
        ),
        _entry(
            "spectral_bench.methods.deep_spectral.method:DeepSpectral",
            "deep_spectral",
            "eigenvectors of each image's own graph cut it into segments, which k-means clusters over the data set",
            DeepSpectralParams,
        ),
        _entry(
            "spectral_bench.methods.nystrom.method:Nystrom",
            "nystrom",
            "spectral clustering of patches sampled from the data set, extended to all others",
            NystromParams,
        ),
        _entry(
            "spectral_bench.methods.spin.method:Spin",
            "spin",
            "a network trained to be the ordered eigenfunctions of a patch kernel (SpIN), and k-means on them",
            _params.SpinParams,
        ),
        _entry(
            "spectral_bench.methods.neuralsvd.method:NeuralSVD",
            "neuralsvd",
            "a network trained to be the ordered eigenfunctions of a patch kernel (NeuralSVD), and k-means on them",
            NeuralSVDParams,
        ),
        _entry(
            "spectral_bench.methods.spectralnet.method:SpectralNet",
            "spectralnet",
            "a network trained to span the eigenspace of a patch Laplacian (SpectralNet), and k-means on its outputs",
            SpectralNetParams,
        ),
        _entry(
            "spectral_bench.methods.self_training.method:SelfTraining",
            "self_training",
            "a student learns the clusters of any stored fit, then those of its own averaged teacher",
            SelfTrainingParams,
            fit_from=ANY,
        ),
        _entry(
            "spectral_bench.methods.maskclip.method:MaskClip",
            "maskclip",
            "patches named by text: CLIP's dense features, each at the nearest text vector of the classes",
            MaskClipParams,
            classes_as_clusters=True,
        ),
        _entry(
            "spectral_bench.methods.reco.method:ReCo",
            "reco",
            "patches named by text and images: prototypes of classes out of images that the text retrieves (ReCo)",
            ReCoParams,
            classes_as_clusters=True,
        ),
        _entry(
            "spectral_bench.methods.neuralef.label_leak:NeuralEFLabelLeak",
            "neuralef_label_leak",
            "NeuralEF as first released: a supervised linear head on psi whose gradient reaches psi",
            _neuralef.NeuralEFLabelLeakParams,
            uses_labels=True,
        ),
        _entry(
            "spectral_bench.methods.linear_probe:LinearProbe",
            "linear_probe",
            "a linear classifier of patch features trained with labels, a ceiling",
            _params.LinearProbeParams,
            uses_labels=True,
            classes_as_clusters=True,
        ),
        _entry(
            "spectral_bench.methods.oracle:Oracle",
            "oracle",
            "the labels of the evaluated images at patch resolution, the ceiling of any method",
            _params.OracleParams,
            uses_labels=True,
            classes_as_clusters=True,
            labels_at_prediction=True,
        ),
    )
)

# By class attributes:
_DECLARED = ("uses_labels", "fit_from", "classes_as_clusters", "labels_at_prediction", "side_by_side")

REGISTRY = Registry("method", {name: entry.path for name, entry in METHODS.items()}, "spectral_bench.methods")


def names() -> tuple[str, ...]:
    """All known methods: those that ship, in the order of tables, then those of other packages."""
    return REGISTRY.names()


def load_method(name: str) -> type[Segmenter]:
    """The class of a method: a known name, or ``path/to/file.py:Class``. Imports torch.

    Raises:
        ConfigError: the name is unknown (the nearest is suggested), or what it names is not a method.
    """
    loaded: Any = REGISTRY.load(name)
    required = ("Params", "fit", "predict", "state_dict", "load_state_dict")
    missing = [attribute for attribute in required if not hasattr(loaded, attribute)]
    if not isinstance(loaded, type) or missing:
        lacks = f", and this has no {', '.join(missing)}" if isinstance(loaded, type) else ", and this is no class"
        raise ConfigError(f'"{name}" is not a method: a method is a class with {", ".join(required)}{lacks}')
    method = cast("type[Segmenter]", loaded)
    if not (isinstance(method.Params, type) and issubclass(method.Params, Params)):
        raise ConfigError(f'method "{name}": its Params must be a subclass of methods.params.Params')
    return method


def method_facts(name: str) -> MethodFacts:
    """The facts of a method. A method that ships is described without importing torch.

    Raises:
        ConfigError: as ``load_method``.
    """
    return _facts(name, ())


def _facts(name: str, through: tuple[str, ...]) -> MethodFacts:
    """The facts of a method that the methods ``through`` start from, in a chain."""
    if name in METHODS:
        return METHODS[name].facts
    if name in through:
        raise ConfigError(f'method "{name}" starts from its own fit')
    method = load_method(name)
    summary = (method.__doc__ or "").strip().split("\n")[0]
    declared = {key: getattr(method, key) for key in _DECLARED if hasattr(method, key)}
    if declared.get("fit_from") not in (None, ANY) and is_path(name):  # beside the file that names it
        declared["fit_from"] = absolute_name(declared["fit_from"], Path(name.partition(":")[0]).parent)
    facts = MethodFacts(name, summary, method.Params, **declared)
    _require_declared_labels(facts, (*through, name))
    return facts


def params_model(name: str) -> type[Params]:
    """The parameter model of a method. Raises ``ConfigError`` as ``load_method`` does."""
    return method_facts(name).params


def complete_params(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The validated parameters of a method with every default filled in, as plain JSON values.

    Raises:
        ConfigError: a parameter is unknown, of a wrong type or out of range; the message names it and its value, says
            what was expected and suggests the nearest valid name.
    """
    model = params_model(name)
    try:
        return model.model_validate(dict(params)).model_dump(mode="json")
    except ValidationError as error:
        problems = [explain("parameter", name, model, problem) for problem in error.errors()]
        raise ConfigError("; ".join(problems)) from error


def colours_asked(name: str, params: Mapping[str, Any]) -> Colours:
    """The colours that a method with these complete parameters looks at besides ``PatchBatch.pixels``."""
    asked = params_model(name).model_validate(dict(params))
    return Colours(bool(getattr(asked, "antialiased_pixels", False)), int(getattr(asked, "colour_samples", 1)))


def starts(uses_labels: bool = False) -> tuple[str, ...]:
    """The methods that one with ``fit_from`` ``ANY`` may start from: of those that ship, none of a user's own.

    Args:
        uses_labels: whether that one uses labels; if not, none of these does.
    """
    return tuple(name for name, entry in METHODS.items() if uses_labels or not entry.facts.uses_labels)


def base_method(name: str, params: Mapping[str, Any]) -> str | None:
    """The method whose stored fit a method with these parameters starts from; None for one that starts from none.

    Raises:
        ConfigError: the method is unknown, ``params`` are not valid, or ``start`` is none of ``starts``.
    """
    facts = method_facts(name)
    if facts.fit_from != ANY:
        return facts.fit_from
    start, known = complete_params(name, params).get("start"), starts(facts.uses_labels)
    if start not in known:
        which = "that ships" if facts.uses_labels else "that ships and uses no labels, as this one declares none"
        raise ConfigError(f'method "{name}": start = {start}: expected a method {which}: {", ".join(known)}')
    return str(start)


def base_params(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The complete parameters of the fit that a method with ``fit_from`` starts from.

    Raises:
        ConfigError: the method starts from no other fit, or ``params`` are not valid.
    """
    facts, start = method_facts(name), base_method(name, params)
    if start is None:
        raise ConfigError(f'method "{name}" starts from no other fit')
    complete = facts.params(**complete_params(name, params))
    base = complete.base_params() if name in METHODS else cast(Any, load_method(name)).base_params(complete)
    return complete_params(start, base)


def _require_declared_labels(facts: MethodFacts, through: tuple[str, ...]) -> None:
    """Refuse a method that labels reach by another way than the one it declares."""
    if facts.uses_labels:
        return
    if facts.labels_at_prediction:
        raise ConfigError(f'method "{facts.name}": labels_at_prediction needs uses_labels = True, so that it is marked')
    if facts.fit_from not in (None, ANY) and _facts(facts.fit_from, through).uses_labels:
        raise ConfigError(
            f'method "{facts.name}" starts from {facts.fit_from}, which uses labels: it must declare uses_labels = True'
        )
