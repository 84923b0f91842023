"""What every method must keep: checks that run in a moment on small scenes, for methods that ship and for others.

``violations(Subject("kmeans", {"k": 4}))`` lists what a method breaks; it is empty for a sound one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError, RunInterrupted, UserError
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.imports import WHY, forbidden_imports
from spectral_bench.methods.interface import PatchBatch, Segmenter, Spectral
from spectral_bench.methods.labels import predict_scores
from spectral_bench.methods.params import Colours
from spectral_bench.methods.registry import (
    base_method,
    base_params,
    colours_asked,
    complete_params,
    load_method,
    method_facts,
)
from spectral_bench.methods.testing import (
    MemoryCheckpoint,
    MemoryLabels,
    MemorySource,
    build,
    fit,
    same_state,
    scenes,
    stop_after,
    with_colours,
)

NONDETERMINISTIC = "two fits of one seed differ: draw from context.seeds only"
NOT_JUDGED = "cannot be judged: two fits of one seed differ"
"""What a check of labels says of a method whose fits differ by chance: no difference then speaks of labels."""


class ContractViolation(AssertionError):
    """A method does not keep a promise that the harness relies on."""


@dataclass(frozen=True)
class Subject:
    """A method under test.

    Attributes:
        name: as in grids, or ``path/to/file.py:Class``.
        params: parameters that make its fit small: a training of seconds at the most, on 8 images of 6 x 7 patches.
        device: where it is fitted and predicts, as torch names it.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def labels(self) -> MemoryLabels | None:
        """Labels of the standard scenes for a method that uses labels, else None."""
        known = method_facts(self.name)
        if not known.uses_labels:
            return None
        groups = scenes()[1]
        classes = complete_params(self.name, self.params)["k"] if known.classes_as_clusters else int(groups.max()) + 1
        return MemoryLabels(groups % classes, classes)

    def fit(self, source: MemorySource | None = None, seed: int = 0, **context: Any) -> Segmenter:
        """The method fitted on ``source``, else on the standard scenes."""
        settings = {"labels": self.labels, "device": self.device, **context}
        return fit(self.name, self.params, (source or scenes()[0]).asked(self._colours), seed, **settings)

    def predict(self, method: Segmenter, batch: PatchBatch) -> Tensor:
        """Its scores of a batch of scenes, on the subject's device."""
        return predict_scores(method, self.here(batch), self.labels)

    def here(self, batch: PatchBatch) -> PatchBatch:
        """A batch on the subject's device, with the colours that the method asks for and no others, as in a run."""
        return with_colours(batch, self._colours).to(torch.device(self.device))

    @property
    def _colours(self) -> Colours:
        return colours_asked(self.name, complete_params(self.name, self.params))


def facts(subject: Subject) -> None:
    """The registry says of a method what its class says."""
    method, known = load_method(subject.name), method_facts(subject.name)
    _demand(known.params is method.Params, "the registry names another parameter model than the class")
    _demand(known.uses_labels == method.uses_labels, "registry and class disagree on uses_labels")
    _demand(known.fit_from == method.fit_from, "registry and class disagree on fit_from")
    for key in ("classes_as_clusters", "labels_at_prediction"):
        _demand(getattr(known, key) == getattr(method, key, False), f"registry and class disagree on {key}")
    _demand("k" in method.Params.model_fields, 'the number of clusters must be a parameter called "k"')
    params = complete_params(subject.name, subject.params)
    _demand(build(subject.name, subject.params).n_clusters == params["k"], "n_clusters must equal the parameter k")


def firewall(subject: Subject) -> None:
    """Neither the file of a method nor a module of its own imports a data set, through which it could reach labels."""
    _demand(not (found := forbidden_imports(subject.name)), f"{', '.join(found)}: {WHY}")


def labels(subject: Subject) -> None:
    """Labels decide what a method learns that declares that it uses them (an oracle: what it predicts), and no other.

    A method that uses none fits the same even where a context holds labels, which the harness never hands it. One
    whose fits of the same seed and labels differ is not judged.
    """
    known, own = method_facts(subject.name), subject.labels
    source, truth = scenes()
    permuted = (own or MemoryLabels(truth, int(truth.max()) + 1)).permuted()
    fits, again = [(subject.fit(), subject.fit(labels=permuted)) for _ in range(2)]
    _demand(all(map(same_state, fits, again)), NOT_JUDGED)
    if own is None:
        _demand(same_state(*fits) and not permuted.asked, "it looks at labels: declare uses_labels = True")
    elif known.labels_at_prediction:
        batch = subject.here(source.batch([0, 1]))
        scores = [predict_scores(fits[0], batch, labels) for labels in (own, permuted)]
        _demand(not torch.equal(*scores), "it declares labels_at_prediction, and labels do not change its scores")
    else:
        _demand(not same_state(*fits), "it declares uses_labels, and other labels give the same fit")


def refusals(subject: Subject) -> None:
    """Bad parameters are refused with an error for users."""
    for bad in ({"no_such_parameter": 1}, {"k": 0}, {"k": "many"}, {"k": None}):
        with _expected(ConfigError, f"parameters {bad} must be refused"):
            complete_params(subject.name, {**subject.params, **bad})


def determinism(subject: Subject) -> None:
    """The same seed gives the same bits, whatever the global generator does, and leaves that as it was."""
    torch.manual_seed(1)
    first = subject.fit()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    second = subject.fit()
    _demand(same_state(first, second), NONDETERMINISTIC)
    _demand(torch.equal(before, torch.random.get_rng_state()), "the global random generator was used")


def prediction(subject: Subject) -> None:
    """Scores are finite float32 of shape (B, K, h, w) on any grid, and predicting changes nothing."""
    method, batch = subject.fit(), scenes(3, (5, 9), seed=1)[0].batch([0, 1, 2])
    features, state = [level.clone() for level in batch.features], _copy(method)
    scores = subject.predict(method, batch)
    shape = (3, method.n_clusters, 5, 9)
    _demand(tuple(scores.shape) == shape, f"predict gave shape {tuple(scores.shape)}, expected {shape}")
    _demand(scores.dtype == torch.float32, f"predict gave {scores.dtype}, expected float32")
    _demand(bool(scores.isfinite().all()), "predict gave scores that are not finite")
    _demand(not scores.requires_grad, "scores carry a gradient: predict under torch.no_grad()")
    _demand(all(torch.equal(a, b) for a, b in zip(batch.features, features, strict=True)), "predict changed features")
    _demand(_same(state, method.state_dict()), "predict changed the state")
    _demand(torch.equal(subject.predict(method, batch), scores), "a second prediction differs from the first")


def batch_invariance(subject: Subject) -> None:
    """The scores of an image do not depend on what else is in the batch, to 1e-5."""
    method, source = subject.fit(), scenes()[0]
    together = subject.predict(method, source.batch(range(8)))
    for size in (1, 3):
        parts = [subject.predict(method, source.batch(range(8)[at : at + size])) for at in range(0, 8, size)]
        gap = float((torch.cat(parts) - together).abs().max())
        _demand(gap <= 1e-5, f"scores in batches of {size} differ by {gap:.2g} from those in one batch of 8")


def node_order(subject: Subject) -> None:
    """Kernel and eigenfunctions follow their patches when an image is turned by 180 degrees, to 1e-4.

    Turning reverses the order of the nodes and keeps the distances between their places. Asked of methods with
    eigenfunctions, unless they decompose each image by itself, where signs are free.
    """
    method, batch = subject.fit(), subject.here(scenes()[0].batch([0]))
    if not isinstance(method, Spectral) or getattr(method, "per_image", False):
        return
    turned = batch.each(lambda tensor: tensor.flip(1, 2) if tensor.ndim < 6 else tensor.flip(1, 2, 3, 4))
    gap = float((method.kernel(turned).dense() - method.kernel(batch).dense().flip(0, 1)).abs().max())
    _demand(gap <= 1e-4, f"the kernel of an image turned by 180 degrees differs by {gap:.2g}: it leans on node order")
    gap = float((method.eigenfunctions(turned) - method.eigenfunctions(batch).flip(2, 3)).abs().max())
    _demand(gap <= 1e-4, f"eigenfunctions of an image turned by 180 degrees differ by {gap:.2g}")


def resume(subject: Subject) -> None:
    """A fit that was stopped, at any of its first moments, and ordered again ends with the same bits."""
    undisturbed = subject.fit()
    for moment in (0, 1, 3, 7):
        checkpoint, resumed = MemoryCheckpoint(), None
        try:
            resumed = subject.fit(checkpoint=checkpoint, should_stop=stop_after(moment))
        except RunInterrupted:
            resumed = subject.fit(checkpoint=checkpoint)
        _demand(same_state(undisturbed, resumed), f"stopped at its question {moment} and resumed, a fit ends otherwise")


def state(subject: Subject) -> None:
    """A state is tensors that share no memory; restored from it, a method predicts the same bits."""
    method, source = subject.fit(), scenes()[0]
    kept = method.state_dict()
    _demand(all(isinstance(tensor, Tensor) for tensor in kept.values()), "a state may hold tensors only")
    places = [tensor.untyped_storage().data_ptr() for tensor in kept.values() if tensor.numel()]
    _demand(len(places) == len(set(places)), "tensors of a state share memory: clone them")
    restored = build(subject.name, subject.params)
    restored.load_state_dict({name: tensor.clone() for name, tensor in kept.items()})
    _demand(_same(kept, restored.state_dict()), "a restored state differs from the stored one")
    batch = source.batch(range(8))
    same = torch.equal(subject.predict(restored, batch), subject.predict(method, batch))
    _demand(same, "a restored fit predicts otherwise")


def too_many_clusters(subject: Subject) -> None:
    """More clusters than training patches are refused with an error for users."""
    tiny = replace(subject, params={**subject.params, "k": 8 * 2 * 2 + 1})
    base = _base(subject)
    with _expected(UserError, "33 clusters of 32 patches must be refused"):
        tiny.fit(scenes(8, (2, 2))[0], base=base)


def not_finite(subject: Subject) -> None:
    """Features that hold NaN are refused in training and in prediction; NaN never comes out in silence.

    An oracle looks at labels instead of features.
    """
    if method_facts(subject.name).labels_at_prediction:
        return
    method, source = subject.fit(), scenes()[0]
    base = _base(subject)
    source.features[-1][:, 2, 2] = float("nan")
    with _expected((NumericalError, UserError), "a fit on features that hold NaN must be refused"):
        subject.fit(source, base=base)
    with _expected((NumericalError, UserError), "a prediction from features that hold NaN must be refused"):
        method.predict(subject.here(source.batch([0, 1])))


def constant_features(subject: Subject) -> None:
    """Features that are all alike end in a refusal, or in finite scores and a failed check of the method's own."""
    source = scenes()[0]
    alike = MemorySource([torch.full_like(level, 0.3) for level in source.features])
    try:
        method = subject.fit(alike)
    except (NumericalError, UserError):
        return
    scores = subject.predict(method, alike.batch([0]))
    _demand(bool(scores.isfinite().all()), "constant features gave scores that are not finite")
    used = len(set(scores.argmax(1).flatten().tolist()))
    failed = any(not check.passed for check in getattr(method, "checks", ()))
    _demand(used > 1 or failed, "all patches are in one cluster, and no check of the method says so")


def one_image(subject: Subject) -> None:
    """A single training image is enough, or is refused with an error for users."""
    source = scenes(1)[0]
    try:
        scores = subject.predict(subject.fit(source), source.batch([0]))
    except UserError:
        return
    _demand(bool(scores.isfinite().all()), "one image gave scores that are not finite")


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (
        facts,
        firewall,
        labels,
        refusals,
        determinism,
        prediction,
        batch_invariance,
        node_order,
        resume,
        state,
        too_many_clusters,
        not_finite,
        constant_features,
        one_image,
    )
}


def violations(subject: Subject) -> dict[str, str]:
    """What a method breaks: name of the check -> what was found, empty for a sound method."""
    found = {}
    for name, check in CHECKS.items():
        try:
            check(subject)
        except Exception as error:
            prefix = "" if isinstance(error, ContractViolation) else f"{type(error).__name__}: "
            found[name] = prefix + str(error)
    return found


def _demand(kept: bool, violation: str) -> None:
    if not kept:
        raise ContractViolation(violation)


@contextmanager
def _expected(kind: type[Exception] | tuple[type[Exception], ...], violation: str) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    except Exception as error:
        raise ContractViolation(f"{violation}, but it ended in {type(error).__name__}: {error}") from error
    raise ContractViolation(violation)


def _base(subject: Subject) -> Segmenter | None:
    """The fit that the subject starts from, made on sound patches; None where it starts from none."""
    if (name := base_method(subject.name, subject.params)) is None:
        return None
    params = base_params(subject.name, subject.params)
    return fit(name, params, scenes()[0], labels=subject.labels, device=subject.device)


def _copy(method: Segmenter) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


def _same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
