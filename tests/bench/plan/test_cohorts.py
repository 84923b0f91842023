"""Which runs of a plan are carried out side by side."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import PROCESS_BYTES, cohorts, free_memory, make_plan, predicted_bytes
from spectral_bench.bench.plan.states import PlannedRun
from spectral_bench.methods.neuralef.params import NeuralEFParams
from spectral_bench.methods.neuralsvd.params import NeuralSVDParams
from spectral_bench.methods.params import LinearProbeParams, SpinParams
from spectral_bench.methods.spectralnet.params import SpectralNetParams

ROOT = Path(__file__).parents[3]
EF = "{method: neuralef, params: {neighbours: 20, steps: 4}, "


def planned(tmp_path: Path, rows: str) -> tuple[PlannedRun, ...]:
    grid = tmp_path / "grid.yaml"
    grid.write_text(f"name: g\nprotocols: [whole]\ndefaults: {{subset: 16}}\nruns: [{rows}]\n")
    return make_plan(load_grid(grid), None, tmp_path / "store").unfinished


def formed(runs: tuple[PlannedRun, ...], **how: int) -> list[list[str]]:
    """What is together, each run as method, seed."""
    names = cohorts(runs, **how)
    groups: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        groups[names.get(run.run_id, run.run_id)].append(f"{run.spec.method} {run.spec.seed}")
    return list(groups.values())


def test_a_seed_is_a_cohort(tmp_path: Path) -> None:
    runs = planned(tmp_path, EF + "matrix: {k: [4, 8]}, seeds: [0, 1]}, {method: kmeans, params: {k: 3}, seeds: [0]}")
    assert formed(runs) == [["neuralef 0", "neuralef 0", "kmeans 0"], ["neuralef 1", "neuralef 1"]]


def test_other_batches_are_another_cohort(tmp_path: Path) -> None:
    runs = planned(tmp_path, EF + "matrix: {k: [4, 8], batch_size: [2, 4]}, seeds: [0]}")
    assert [len(group) for group in formed(runs)] == [2, 2]


def test_other_features_are_another_cohort(tmp_path: Path) -> None:
    runs = planned(tmp_path, EF + "matrix: {k: [4, 8], subset: [16, 32]}, seeds: [0]}")
    assert [len(group) for group in formed(runs)] == [2, 2]


def test_a_fit_that_others_start_from_is_not_among_them(tmp_path: Path) -> None:
    row = "{method: neuralef_kmeans, params: {neighbours: 20, steps: 4, base_k: 4}, matrix: {k: [4, 8]}, seeds: [0]}"
    assert formed(planned(tmp_path, row)) == [["neuralef 0"], ["neuralef_kmeans 0", "neuralef_kmeans 0"]]


def test_runs_that_wait_for_a_fit_keep_no_process_busy_meanwhile(tmp_path: Path) -> None:
    after = "{method: neuralef_kmeans, params: {neighbours: 20, steps: 4, base_k: 4}, matrix: {k: [4, 8]}, seeds: [0]}"
    runs = planned(tmp_path, f"{EF}matrix: {{k: [4, 8, 16, 32]}}, seeds: [0]}}, {after}")
    first = [group for group in formed(runs, slots=2) if group[0].startswith("neuralef ")]
    assert [len(group) for group in first] == [2, 2]


def test_a_method_of_ones_own_is_alone_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = ROOT / "examples" / "random_directions.py"
    row = "{{method: {}:RandomDirections, matrix: {{k: [4, 8]}}, seeds: [0]}}"
    assert [len(group) for group in formed(planned(tmp_path, row.format(path)))] == [1, 1]
    own = tmp_path / "declared.py"
    own.write_text(
        path.read_text().replace("    uses_labels = False\n", "    uses_labels = False\n    side_by_side = True\n")
    )
    assert [len(group) for group in formed(planned(tmp_path, row.format(own)))] == [2]


@pytest.mark.parametrize(
    ("seeds", "slots", "sizes"),
    [
        (3, 1, [4, 4, 4]),
        (3, 2, [4, 4, 2, 2]),
        (1, 2, [2, 2]),
        (2, 2, [4, 4]),
        (1, 8, [1, 1, 1, 1]),
        (2, 3, [2, 2, 2, 2]),
    ],
)
def test_no_process_is_idle_while_another_has_a_whole_cohort(
    tmp_path: Path, seeds: int, slots: int, sizes: list[int]
) -> None:
    runs = planned(tmp_path, EF + f"matrix: {{k: [4, 6, 8, 10]}}, seeds: {[*range(seeds)]}}}")
    assert [len(group) for group in formed(runs, slots=slots)] == sizes


def test_a_cohort_stays_within_memory(tmp_path: Path) -> None:
    runs = planned(tmp_path, EF + "matrix: {k: [4, 6, 8, 10]}, seeds: [0]}")
    two, four = predicted_bytes(runs[2:]), predicted_bytes(runs)
    assert PROCESS_BYTES < two < four
    assert [len(group) for group in formed(runs, memory=two)] == [2, 2]
    assert [len(group) for group in formed(runs, memory=1)] == [1, 1, 1, 1]
    assert free_memory(2) == pytest.approx(free_memory(1) / 2, rel=0.5)


def test_what_a_fit_holds_is_its_network_and_the_optimiser() -> None:
    from torch import nn

    from spectral_bench.methods.neuralef.psi import Psi
    from spectral_bench.methods.spin.network import FunctionNetwork

    params = NeuralEFParams(k=24, depth=2, heads=3, head_width=8, mlp_width=20)
    psi = Psi((8, 24, 40), 24, depth=2, heads=3, head_width=8, mlp_width=20)
    spin = SpinParams(k=4, functions=5, width=16)
    held: list[tuple[nn.Module, int]] = [
        (psi, params.held_bytes(72)),
        (FunctionNetwork(72, (16, 16), 5, "gelu"), spin.held_bytes(72)),
        (nn.Linear(72, 11), LinearProbeParams(k=11).held_bytes(72)),
    ]
    for network, found in held:
        assert found == 16 * sum(parameter.numel() for parameter in network.parameters())
    for other in (NeuralSVDParams(k=4, functions=5, width=16), SpectralNetParams(k=4, functions=5, width=16)):
        assert other.held_bytes(72) == spin.held_bytes(72)
    averaged = spin.model_copy(update={"decay": 0.5})
    assert averaged.held_bytes(72) == spin.held_bytes(72) // 16 * (16 + 4 * 15)
