"""Stored fits: saving what a method learnt and bringing it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_bytes
from spectral_bench.methods.registry import load_method, params_model

if TYPE_CHECKING:
    from spectral_bench.methods.interface import Segmenter
    from spectral_bench.results.specification import FitSpec
    from spectral_bench.results.store import Store

STATE_FILE = "fit.safetensors"


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


def load_fit(store: Store, run_id: str, device: torch.device | str = "cpu") -> Segmenter:
    """The fitted method of a finished run.

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
    method = build_method(record.spec)
    method.load_state_dict(state)
    return method
