"""Every bad grid gives one line a fault, with file, line, key path and the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest

from spectral_bench.bench.grid.load import load_grid
from spectral_bench.common.documents.problems import InvalidDocument
from spectral_bench.common.errors import ConfigError


def faults(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "g.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_grid(path, (), lambda method: ("k", "alpha"))
    lines = str(caught.value).splitlines()
    return [line.replace(str(path), "g") for line in lines]


CASES = [
    ("", "g:1: the grid is empty"),
    ("{}", "g:1: the grid is empty"),
    ("- 1", "g:1: the grid is a list; it must be a mapping"),
    ("hello", 'g:1: the grid is the text "hello"'),
    ("name: a", "g:1: the grid has no runs"),
    ("name: a\nruns: []", "g:1: the grid has no runs"),
    ("name: a b\nruns: [{method: m}]", "g:1: name: expected letters, digits"),
    ("name: ../a\nruns: [{method: m}]", "g:1: name: expected letters, digits"),
    ("rnus: [{method: m}]\nname: a", 'g:1: rnus: unknown key "rnus"; did you mean "runs"?'),
    ("runs: [{method: m}]\nseeds: [0]", 'g:2: seeds: "seeds" is a key of a run; put it under defaults or into a run'),
    ("runs: {method: m}", "g:1: runs: expected a list of runs"),
    ("runs: [m]", "g:1: runs[0]: expected a mapping of the keys of a run"),
    ("runs: [{matrix: {k: [1]}}]", 'g:1: runs[0]: the key "method" is missing'),
    ("runs:\n  - {method: m}\n  - {metod: m, method: m}", 'g:3: runs[1].metod: unknown key "metod"; did you mean'),
    ("runs: [{method: m, k: 3}]", "(parameters of the method go under params)"),
    ("runs: [{method: m}]\nprotocols: whole", 'g:2: protocols: expected a list, got the text "whole"'),
    ("runs: [{method: m}]\ndefaults: 3", "g:2: defaults: expected a mapping"),
    ("runs: [{method: m}]\ndefaults: {name: x}", 'g:2: defaults.name: unknown key "name"'),
    ("runs: [{method: m}]\ndefaults: {matrix: {k: [1]}}", 'g:2: defaults.matrix: unknown key "matrix"'),
    ("runs: [{method: m}]\nexecutor: slurm", "g:2: executor: expected a mapping"),
    ("runs: [{method: m}]\ndata_root: 3", "g:2: data_root: expected a folder or a list of folders"),
    ("runs: [{method: m, seeds: 3}]", "g:1: runs[0].seeds: expected a list, got 3"),
    ("runs: [{method: m, seeds: []}]", "g:1: runs[0].seeds: expected at least one value, got an empty list"),
    ("runs: [{method: m, seeds: [-1]}]", "g:1: runs[0].seeds[0]: expected greater than or equal to 0, got -1"),
    (f"runs: [{{method: m, seeds: [{2**63}]}}]", "g:1: runs[0].seeds[0]: expected less than"),
    ("runs: [{method: m, seeds: [true]}]", "g:1: runs[0].seeds[0]: expected a whole number, got true"),
    ("runs: [{method: m, seeds: [2, 2]}]", "g:1: runs[0].seeds: the seed 2 stands here twice"),
    ("runs: [{method: m, params: 3}]", "g:1: runs[0].params: expected a mapping, got 3"),
    ("runs: [{method: m, precision: float16}]", 'unknown value "float16"; did you mean "bfloat16"?'),
    ("runs: [{method: m, features: {mode: disk}}]", 'g:1: runs[0].features.mode: unknown value "disk"'),
    ("runs: [{method: m, features: {views: 0}}]", "g:1: runs[0].features.views: expected greater than or equal to 1"),
    ("runs: [{method: m, transform: papr}]", 'g:1: runs[0].transform: unknown value "papr"; did you mean "paper"?'),
    ("runs: [{method: m, transform: {crop: 4}}]", "g:1: runs[0].transform.crop: expected greater than or equal to 16"),
    ("runs: [{method: m, transform: {scale: [2, 1]}}]", "g:1: runs[0].transform: scale: expected two positive"),
    ("runs: [{method: m, transform: {resize: {mode: exact}}}]", "runs[0].transform.resize: mode exact and a size"),
    ("runs: [{method: m, subset: 0}]", "g:1: runs[0].subset: expected greater than or equal to 1, got 0"),
    ("runs: [{method: m, subset: many}]", 'g:1: runs[0].subset: expected a whole number, got the text "many"'),
    ("runs: [{method: m, matrix: [1]}]", "g:1: runs[0].matrix: expected a mapping from keys to lists"),
    ("runs: [{method: m, matrix: {k: 3}}]", "g:1: runs[0].matrix.k: expected a list of values for k"),
    ("runs: [{method: m, matrix: {k: []}}]", "g:1: runs[0].matrix.k: expected a list of values for k"),
    ("runs: [{method: m, matrix: {k: [1, 1]}}]", "g:1: runs[0].matrix.k[1]: the value 1 stands here twice"),
    ("runs: [{method: m, matrix: {seeds: [[1]]}}]", "g:1: runs[0].matrix.seeds: seeds is a list of its own"),
    ("runs: [{method: m, matrix: {protocols: [[a]]}}]", "g:1: runs[0].matrix.protocols: protocols is a list of its"),
    ("runs: [{method: m, matrix: {params: [{}]}}]", "g:1: runs[0].matrix.params: list the parameters themselves"),
    ("runs: [{method: m, matrix: {precision: [float31]}}]", 'precision[0]: unknown value "float31"'),
    ("runs: [{method: m, matrix: {features.vews: [1]}}]", 'unknown key "vews"; did you mean "views"?'),
    ("runs: [{method: m, params: {k: 1}, matrix: {k: [2]}}]", "k is also given one value on g:1"),
    ("runs: [{method: m, matrix: {k: [1]}, zip: {k: [2]}}]", "the key stands in zip as well"),
    ("runs: [{method: m, zip: {k: [1], alpha: [1, 2]}}]", "must be equally long: k has 1, alpha has 2"),
    ("runs: [{method: m, matrix: {k: [1]}, exclude: {k: 1}}]", "g:1: runs[0].exclude: expected a list of mappings"),
    ("runs: [{method: m, matrix: {k: [1]}, exclude: [{kk: 1}]}]", 'unknown key of matrix or zip "kk"; did you mean'),
    ("runs: [{method: m, matrix: {k: [1]}, exclude: [{k: 2}]}]", "2 is no value of k here; valid: 1"),
    ("runs: [{method: m, matrix: {k: [1]}, exclude: [{k: 1}]}]", "every combination is excluded"),
    ("ablate: {base: {method: m}}", "g:1: ablate: expected a mapping with the keys base"),
    ("ablate: {base: {method: m}, vary: {}}", "g:1: ablate: expected a mapping with the keys base"),
    ("ablate: 3", "g:1: ablate: expected a mapping with the keys base"),
    ("ablate: {base: {method: m}, vary: {k: [1]}, vry: 1}", 'g:1: ablate.vry: unknown key "vry"; did you mean "vary"?'),
    ("ablate: {base: {method: m, matrix: {k: [1]}}, vary: {k: [1]}}", 'ablate.base.matrix: unknown key "matrix"'),
    ("ablate: {base: {method: m}, vary: {k: 3}}", "g:1: ablate.vary.k: expected a list of values"),
    ("ablate: {base: {method: m}, vary: {'k, alpha': [3]}}", "expected a list of 2 values, one for each of k, alpha"),
    ("ablate: {base: {method: m}, vary: {'k, seeds': [[3, [1]]]}}", "seeds is a list of its own"),
    ("runs: [{method: m}]\nruns: [{method: m}]", "g:2: runs: the key stands here twice, first on g:1"),
]


@pytest.mark.parametrize(("text", "says"), CASES)
def test_a_fault_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    lines = faults(tmp_path, text)
    assert len(lines) == 1, lines
    assert says in lines[0]
    assert lines[0].startswith("g:")


def test_independent_faults_are_said_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = faults(
        tmp_path, "name: a b\nruns:\n  - {method: 3}\n  - {method: m, sed: [0]}\n  - {subset: 0, method: m}\nname: c\n"
    )
    assert [line.split(": ")[0] for line in lines] == ["g:1", "g:3", "g:4", "g:5", "g:6"]
    assert "the key stands here twice" in lines[-1]


def test_a_fault_in_the_defaults_is_said_once_for_all_rows(tmp_path: Path) -> None:
    text = "defaults: {subset: none}\nruns: [{method: m, matrix: {k: [1, 2, 3]}}]"
    assert len(faults(tmp_path, text)) == 1


def test_the_error_is_a_config_error_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text("runs: [{method: m, sed: 1}, {method: m, sad: 1}]")
    with pytest.raises(InvalidDocument) as caught:
        load_grid(path, (), lambda method: ())
    assert len(caught.value.problems) == 2
