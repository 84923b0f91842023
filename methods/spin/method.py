"""Eigenfunctions of the patch kernel by a network, clusters by k-means on them; and SpIN, which learns them in order.

Pfau, Petersen, Agarwal, Barrett and Stachenfeld, *Spectral Inference Networks*, ICLR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.centres import Centres, sample_size
from spectral_bench.methods.discretise import fit_discrete
from spectral_bench.methods.graphs.batch import kernel_of, kernel_settings
from spectral_bench.methods.graphs.kernel import Kernel
from spectral_bench.methods.health import Check
from spectral_bench.methods.inputs import by_chunks, images_of, one_by_one, require_finite, standardisation
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource, Statistics
from spectral_bench.methods.params import FunctionParams, SpinParams
from spectral_bench.methods.spin.averages import Averages
from spectral_bench.methods.spin.memory import require_memory
from spectral_bench.methods.spin.network import FunctionNetwork
from spectral_bench.methods.spin.operators import Functions, KernelOperator
from spectral_bench.methods.spin.spectrum import second_moment, whitening
from spectral_bench.methods.spin.step import SpinTerms, spin_terms
from spectral_bench.methods.trainer import Budget, Cosine, Step, train

_T = TypeVar("_T")

_NETWORK = "network."
_MEAN, _STD = "statistics.mean.", "statistics.std."


class LearntFunctions:
    """n eigenfunctions of the patch kernel, learnt by an MLP, and K centres among their values.

    A method is a subclass that says what a step minimises (``_loss``), what is trained beside the network (``_beside``)
    and what makes the network's outputs comparable in length (``_scaling``).

    Args:
        params: parameters.
    """

    Params: ClassVar[type[FunctionParams]]
    uses_labels = False
    fit_from = None
    title: ClassVar[str]

    def __init__(self, params: FunctionParams) -> None:
        self.params = params
        self.n_clusters = params.k
        self.checks: tuple[Check, ...] = ()
        self._network: FunctionNetwork | None = None
        self._statistics: Statistics | None = None
        self._whitening: Tensor | None = None
        self._centres: Centres | None = None

    @property
    def health_limits(self) -> dict[str, float]:
        """What the harness holds the functions of a fit against on held-out images."""
        limit = self.params.angle_limit
        return {} if limit is None else {"angle_largest": limit}

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Train the functions on batches of whole images, then cluster their values at training patches.

        Raises:
            ConfigError: more clusters than patches, more functions than patches that they are told apart by, fewer
                images than a batch holds, or more than fits in memory.
            NumericalError: features are not finite, or the functions came to depend on each other, as they do on
                constant features.
            RunInterrupted: the run was asked to stop; it goes on from its checkpoint.
        """
        params = self.params
        size = sample_size(patches, params, params.k)
        _require_enough_patches(params, patches)
        self._whitening = self._centres = None  # those of a fit before this one are not of its functions
        self._network = self._initial(patches, size, context)
        self._standardise(patches, self._network)
        self._train(patches, Trained(self._network, self._beside(self._network)), context)
        values = by_chunks(self._values, patches.subsample(size).features, context.device)
        self._whitening = self._scaling(values, patches, context).float()
        functions = self._whitened(values)
        self._centres, self.checks = fit_discrete(
            functions, self._input(functions), params.discretise, params=params, k=params.k, context=context
        )
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) scores: one-hot at the nearest centre, or minus the squared distances.

        Raises:
            NumericalError: features, or the network's outputs, are not finite.
        """
        return self.predict_with_functions(batch)[0]

    def predict_with_functions(self, batch: PatchBatch) -> tuple[Tensor, Tensor]:
        """What ``predict`` and ``eigenfunctions`` give, and raise, by one pass through the network."""
        functions = self.eigenfunctions(batch)
        return _learnt(self._centres).scores(self._input(functions.permute(0, 2, 3, 1))), functions

    def eigenfunctions(self, batch: PatchBatch) -> Tensor:
        """(B, n, h, w) float32 values of the scaled functions, in the order learnt.

        Raises:
            NumericalError: features are not finite.
        """
        _learnt(self._whitening)  # a fit that was interrupted has a network already
        require_finite(batch.features, images_of(batch))
        _learnt(self._network).to(batch.pixels.device).eval()
        values = torch.stack([self._whitened(self._values(image.features))[0] for image in one_by_one(batch)])
        return values.permute(0, 3, 1, 2)

    @property
    def kernel_settings(self) -> tuple[object, ...]:
        """All that ``kernel`` depends on besides the batch."""
        return kernel_settings(self.params, self._statistics)

    def kernel(self, batch: PatchBatch) -> Kernel:
        """The kernel of the batch's patches that training approximates the eigenfunctions of."""
        return kernel_of(batch, self.params, self._statistics)

    def state_dict(self) -> dict[str, Tensor]:
        """The network, its scaling (n, n), centres (K, D), and training statistics where the graph is standardised."""
        network = {_NETWORK + name: tensor for name, tensor in _learnt(self._network).state_dict().items()}
        learnt = {"whitening": _learnt(self._whitening), "centres": _learnt(self._centres).centres}
        return {**network, **learnt, **_statistics_state(self._statistics)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave, on the device of the given tensors."""
        state = {name: tensor.clone() for name, tensor in state.items()}
        inner = {name.removeprefix(_NETWORK): state[name] for name in state if name.startswith(_NETWORK)}
        with torch.device("meta"):  # nothing is drawn or allocated only to be replaced
            network = self._build(inner["mean"].numel())
        network.load_state_dict(inner, assign=True)
        self._network = network.eval()
        self._whitening = state["whitening"]
        self._centres = Centres(state["centres"], self.params.scores)
        self._statistics = _statistics_from(state)

    def _train(self, patches: PatchSource, trained: Trained, context: FitContext) -> None:
        params = self.params
        train(
            trained,
            lambda number, steps, batch: self._step(number, batch, trained, context),
            patches,
            context=context,
            budget=Budget(params.batch_size, params.epochs, params.steps),
            rate=Cosine(params.lr, params.lr_min),
            more_follows=True,
        )

    def _initial(self, patches: PatchSource, sampled: int, context: FitContext) -> FunctionNetwork:
        """A fresh network, the same at the same seed on every device; the global generator is left as it was."""
        width = sum(self._seen(patches.channels))
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in self._build(width).parameters())
        batch = self.params.batch_size * patches.n_patches // len(patches)
        require_memory(self.params, count, batch, sampled, context.device)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(context.seeds.integer("initialisation"))
            return self._build(width).to(context.device)

    def _build(self, channels: int) -> FunctionNetwork:
        params = self.params
        return FunctionNetwork(channels, (params.width,) * params.depth, params.functions, params.activation)

    def _beside(self, network: FunctionNetwork) -> nn.Module | None:
        """What a checkpoint holds beside the network; None: nothing."""
        return None

    def _loss(self, u: Functions, x: Tensor, operator: KernelOperator, step: Moment) -> Step:
        """The loss of a batch."""
        raise NotImplementedError

    def _scaling(self, values: Tensor, patches: PatchSource, context: FitContext) -> Tensor:
        """(n, n) T such that T u are the functions, out of (N, n) values of u at training patches."""
        raise NotImplementedError

    def _seen(self, levels: tuple[_T, ...]) -> tuple[_T, ...]:
        """Of what there is one of a level: that of the levels that the network sees."""
        return levels if self.params.features == "all" else levels[-1:]

    def _standardise(self, patches: PatchSource, network: FunctionNetwork) -> None:
        if not (self.params.standardise or self.params.graph_standardise):
            return
        statistics = patches.statistics()
        require_finite(statistics.mean, "the training images")  # else the network is to blame for NaN of a patch
        if self.params.graph_standardise:
            self._statistics = statistics
        if self.params.standardise:
            seen = Statistics(self._seen(statistics.mean), self._seen(statistics.std))
            mean, scale = standardisation(seen)
            network.mean.copy_(mean)
            network.scale.copy_(scale)

    def _step(self, number: int, batch: PatchBatch, trained: Trained, context: FitContext) -> Step:
        batch.shared("finite", lambda: require_finite(batch.features, images_of(batch)))
        with context.stage("graph"):
            operator = KernelOperator(self.kernel(batch))
        x = torch.cat(self._seen(batch.features), -1).flatten(0, 2)
        half = context.precision == "bfloat16"

        def u(points: Tensor) -> Tensor:
            with torch.autocast(context.device.type, dtype=torch.bfloat16, enabled=half):
                out: Tensor = trained.network(points)
            return out

        return self._loss(u, x, operator, Moment(number, trained, context))

    def _values(self, levels: tuple[Tensor, ...]) -> Tensor:
        """u of features (..., C_l), (..., n) float32, without gradient."""
        with torch.no_grad():
            out: Tensor = _learnt(self._network)(torch.cat(self._seen(levels), -1))
        return out

    def _outputs(self, batch: PatchBatch) -> Tensor:
        """u of all patches of a batch, (N, n) float32, without gradient."""
        return self._values(batch.features).flatten(0, -2)

    def _whitened(self, values: Tensor) -> Tensor:
        return values @ _learnt(self._whitening).to(values.device).T

    def _input(self, functions: Tensor) -> Tensor:
        return functional.normalize(functions, dim=-1) if self.params.input == "eigenfunctions_l2" else functions


class Spin(LearntFunctions):
    """SpIN: n eigenfunctions of the patch kernel in the order of their eigenvalues, and K centres among their values.

    The functions are L^-1 u. L L^T is the covariance of u over the training patches that were clustered, so that the
    functions have mean square 1 and are uncorrelated there; once converged, the largest eigenvalue comes first.

    Args:
        params: parameters; ``decay`` turns the moving averages on.
    """

    Params = SpinParams
    params: SpinParams
    title = "SpIN"

    def _beside(self, network: FunctionNetwork) -> Averages | None:
        params = self.params
        return Averages(params.functions, list(network.parameters()), params.decay) if params.decay else None

    def _loss(self, u: Functions, x: Tensor, operator: KernelOperator, step: Moment) -> Step:
        parameters = list(step.trained.network.parameters())
        averages = step.trained.averages
        assert averages is None or isinstance(averages, Averages)
        drawn = self._drawn(step.number, len(x), step.context)
        terms = spin_terms(u, x, operator, parameters, averages, drawn)
        return Step(terms.loss, lambda: _measures(terms))

    def _drawn(self, number: int, count: int, context: FitContext) -> Tensor | None:
        """The patches of a batch that its Jacobian is estimated on, (m,) int64; None: all of them."""
        wanted = self.params.jacobian_patches
        if wanted is None or wanted >= count:
            return None
        generator = context.seeds.torch("jacobian", number)
        return torch.randperm(count, generator=generator)[:wanted].to(context.device)

    def _scaling(self, values: Tensor, patches: PatchSource, context: FitContext) -> Tensor:
        return whitening(second_moment(values, values), self.title)


class Trained(nn.Module):
    """What a checkpoint holds: the network, and the averages where there are any."""

    def __init__(self, network: FunctionNetwork, averages: nn.Module | None) -> None:
        super().__init__()
        self.network = network
        self.averages = averages


@dataclass(frozen=True)
class Moment:
    """Which step a loss is of: its number from 0, what is trained, and the context of the fit."""

    number: int
    trained: Trained
    context: FitContext


def _learnt(part: _T | None) -> _T:
    if part is None:
        raise RuntimeError("fit or load a state before predicting")
    return part


def _require_enough_patches(params: FunctionParams, patches: PatchSource) -> None:
    expected = params.misfits(len(patches), patches.n_patches).get("functions")
    if expected is not None:
        raise ConfigError(f"functions = {params.functions}: expected {expected}")


def _measures(terms: SpinTerms) -> dict[str, float]:
    values = terms.spectrum.eigenvalues
    return {
        "eigenvalue_first": float(values[0]),
        "eigenvalue_last": float(values[-1]),
        "off_diagonal": terms.spectrum.off_diagonal,
    }


def _statistics_state(statistics: Statistics | None) -> dict[str, Tensor]:
    if statistics is None:
        return {}
    means = {f"{_MEAN}{level}": mean for level, mean in enumerate(statistics.mean)}
    return means | {f"{_STD}{level}": std for level, std in enumerate(statistics.std)}


def _statistics_from(state: dict[str, Tensor]) -> Statistics | None:
    levels = range(sum(name.startswith(_MEAN) for name in state))
    if not levels:
        return None
    return Statistics(
        tuple(state[f"{_MEAN}{level}"] for level in levels), tuple(state[f"{_STD}{level}"] for level in levels)
    )
