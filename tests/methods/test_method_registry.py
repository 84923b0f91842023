"""The registry of methods: names, facts without imports, completed parameters, errors that help."""

from pathlib import Path

import pytest

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods import registry
from spectral_bench.methods.neuralef.params import NeuralEFParams
from spectral_bench.methods.params import KMeansParams

FILE = '''
from spectral_bench.methods.params import Params as Base


class Params(Base):
    k: int = 4
    width: float = 0.5


class Mine:
    """Does little.

    At length.
    """

    Params = Params
    uses_labels = True

    def fit(self, patches, *, context): ...
    def predict(self, batch): ...
    def state_dict(self): ...
    def load_state_dict(self, state): ...


class Half:
    Params = Params


class Foreign(Mine):
    Params = dict
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_the_names_start_with_those_that_ship() -> None:
    assert registry.names()[:3] == ("kmeans", "neuralef", "neuralef_kmeans")


def test_facts_of_methods_that_ship() -> None:
    assert registry.method_facts("kmeans").params is KMeansParams
    assert registry.method_facts("neuralef_kmeans").fit_from == "neuralef"
    assert registry.method_facts("neuralef").fit_from is None
    labelled = {name for name, entry in registry.METHODS.items() if entry.facts.uses_labels}
    assert labelled == {"neuralef_label_leak", "linear_probe", "oracle"}
    assert {name for name in labelled if registry.method_facts(name).labels_at_prediction} == {"oracle"}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("uses_labels, labels_at_prediction = False, True", "labels_at_prediction needs uses_labels = True"),
        ('uses_labels, fit_from = False, "neuralef_label_leak"', "starts from neuralef_label_leak, which uses labels"),
    ],
)
def test_labels_reach_a_method_only_where_it_declares_that_it_uses_them(
    declared: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "sly.py"
    path.write_text(FILE.replace("uses_labels = True", declared))
    with pytest.raises(ConfigError, match=message):
        registry.method_facts(f"{path}:Mine")


def test_a_method_that_starts_from_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ring.py"
    path.write_text(FILE.replace("uses_labels = True", f'fit_from = "{path}:Mine"'))
    with pytest.raises(ConfigError, match="starts from its own fit"):
        registry.method_facts(f"{path}:Mine")


def test_methods_that_start_from_each_other_are_refused(tmp_path: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{one}.py").write_text(
            FILE.replace("uses_labels = True", f'fit_from = "{tmp_path}/{other}.py:Mine"')
        )
    with pytest.raises(ConfigError, match="starts from its own fit"):
        registry.method_facts(f"{tmp_path}/a.py:Mine")


def test_an_unknown_method_is_met_with_the_nearest() -> None:
    for function in (registry.method_facts, registry.load_method, registry.params_model):
        with pytest.raises(ConfigError, match='unknown method "kmean"; did you mean "kmeans"'):
            function("kmean")


def test_a_method_from_a_file(file: Path) -> None:
    name = f"{file}:Mine"
    facts = registry.method_facts(name)
    assert (facts.summary, facts.uses_labels, facts.fit_from) == ("Does little.", True, None)
    assert registry.load_method(name).__name__ == "Mine"
    assert registry.complete_params(name, {"k": 9}) == {"k": 9, "width": 0.5}


def test_a_file_without_the_class(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'"Nine"; did you mean "Mine"\? valid: Foreign, Mine \('):
        registry.load_method(f"{file}:Nine")  # not what it imports, nor parameters
    with pytest.raises(ConfigError, match="name the object after a colon; valid: Foreign, Mine"):
        registry.load_method(str(file))
    with pytest.raises(ConfigError, match="no such file"):
        registry.load_method(f"{tmp_path / 'other.py'}:Mine")


def test_what_is_no_method_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="is not a method: a method is a class with Params, fit, predict"):
        registry.load_method(f"{file}:Half")
    with pytest.raises(ConfigError, match=r"and this has no fit, predict, state_dict, load_state_dict$"):
        registry.load_method(f"{file}:Half")
    with pytest.raises(ConfigError, match=r"must be a subclass of methods\.params\.Params"):
        registry.load_method(f"{file}:Foreign")


def test_completion_fills_in_every_default() -> None:
    complete = registry.complete_params("neuralef", {"k": 64, "alpha": 0})
    assert complete == NeuralEFParams(k=64, alpha=0.0).model_dump(mode="json")
    assert complete["beta"] == 0.32
    assert isinstance(complete["alpha"], float)
    assert registry.complete_params("neuralef", complete) == complete


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kk": 3}, 'unknown parameter of kmeans "kk"; did you mean "k"'),
        ({"k": 1}, "kmeans: k = 1: input should be greater than or equal to 2 (k: number of clusters)"),
        ({"k": "x"}, "kmeans: k = 'x': input should be a valid integer"),
        ({"input": "last_l1"}, 'unknown input of kmeans "last_l1"; did you mean "last_l2"? valid: all_standardised_l2'),
        ({"k": True}, 'kmeans: parameter "k" is a number or a name, not true'),
        ({1: 2}, "kmeans: Keys should be strings"),
        ({"k": 0, "tol": -1}, "kmeans: tol = -1"),
        ({"k": 0, "tol": -1}, "kmeans: k = 0"),
    ],
)
def test_bad_parameters_are_explained(params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.complete_params("kmeans", params)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parameters_at_odds_with_each_other_are_explained() -> None:
    with pytest.raises(ConfigError, match="neuralef: lr_min = 1e-05 must not be above lr = 1e-06"):
        registry.complete_params("neuralef", {"lr": 1e-6})


def test_the_base_of_a_method() -> None:
    base = registry.base_params("neuralef_kmeans", {"k": 11, "base_k": 64, "iterations": 5})
    assert base == registry.complete_params("neuralef", {"k": 64})
    with pytest.raises(ConfigError, match='method "kmeans" starts from no other fit'):
        registry.base_params("kmeans", {})
    with pytest.raises(ConfigError, match="unknown parameter"):
        registry.base_params("neuralef_kmeans", {"restart": 2})
