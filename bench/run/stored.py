"""Stored fits: saving what a method learnt and bringing it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import few
from spectral_bench.methods.registry import load_method, params_model

if TYPE_CHECKING:
    from spectral_bench.methods.interface import Segmenter
    from spectral_bench.results.specification import FitSpec
    from spectral_bench.results.store import Store

STATE_FILE = "fit.safetensors"
_CANNOT_LOAD = "the stored state of {} cannot be loaded into a fresh method"


class StateError(RuntimeError):
    """What a method stored is not what it loads: its fit would be of no use to anybody."""


def build_method(spec: FitSpec) -> Segmenter:
    """An unfitted method with the parameters of ``spec``."""
    parameters = params_model(spec.method)(**spec.params)
    method: Segmenter = load_method(spec.method)(parameters)
    return method


def save_state(folder: Path, method: Segmenter) -> int:
    """Write what ``method`` learnt into a run's folder, atomically. Returns how many numbers that is."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in method.state_dict().items()}
    write_bytes(folder / STATE_FILE, save(state))
    return sum(tensor.numel() for tensor in state.values())


def require_loadable(folder: Path, spec: FitSpec, fitted: Segmenter) -> None:
    """Load what ``save_state`` wrote into a fresh method, as every evaluation to come will.

    Raises:
        StateError: the method does not load it, or is another one afterwards: other state, other clusters.
    """
    state: dict[str, Tensor] = load_file(folder / STATE_FILE)
    with torch.random.fork_rng(devices=[]):  # what a constructor draws changes nothing of what follows
        try:
            fresh = build_method(spec)
            fresh.load_state_dict(dict(state))
            again = {name: tensor.detach().cpu().contiguous() for name, tensor in fresh.state_dict().items()}
        except Exception as error:
            problem = f"load_state_dict raised {type(error).__name__}: {error}"
            raise StateError(f"{_CANNOT_LOAD.format(spec.method)}: {problem}") from error
    other = sorted(state.keys() ^ again.keys())
    other += sorted(name for name in state.keys() & again.keys() if not _same_bits(state[name], again[name]))
    if other:
        raise StateError(f"{_CANNOT_LOAD.format(spec.method)}: {few(other)} of state_dict is not what was stored")
    if fresh.n_clusters != fitted.n_clusters:
        raise StateError(
            f"{_CANNOT_LOAD.format(spec.method)}: it has {fresh.n_clusters} clusters then, and {fitted.n_clusters} "
            "after its fit; n_clusters belongs to what state_dict tells"
        )


def _same_bits(one: Tensor, other: Tensor) -> bool:
    same = one.dtype == other.dtype and one.shape == other.shape
    return same and torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


def load_fit(store: Store, run_id: str, device: torch.device | str = "cpu", spec: FitSpec | None = None) -> Segmenter:
    """The fitted method of a finished run.

    Args:
        store: where it lies.
        run_id: the run.
        device: where its state goes.
        spec: the fit as it is ordered today: a method of a user's own may lie elsewhere by now. None: as recorded.

    Raises:
        StoreError: the run is not in the store, or is not finished, or its state is missing or torn.
    """
    record = store.fit_record(run_id)
    if record is None or record.status == "failed":
        raise StoreError(f"run {run_id}: no finished fit in {store.path}")
    path = store.run_folder(run_id) / STATE_FILE
    try:
        state: dict[str, Tensor] = load_file(path, device=str(device))
    except Exception as error:
        raise StoreError(
            f"{path}: the stored fit cannot be read ({error}); remove the run's folder and run again"
        ) from error
    method = build_method(spec or record.spec)
    method.load_state_dict(state)
    return method
