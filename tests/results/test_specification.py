"""Identities of fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.results.specification import BackboneSpec, FitSpec, TrainingData, run_ids

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


@given(
    st.sampled_from(["kmeans", "path/to/file.py:Mine"]),
    st.dictionaries(st.text(), PLAIN | st.lists(PLAIN, max_size=3), max_size=4),
    st.lists(st.integers(0, 2**63 - 1), max_size=4),
    st.integers(0, 9),
)
def test_ids_at_many_seeds_are_those_of_the_fits_one_by_one(
    method: str, params: dict[str, object], seeds: list[int], seed: int
) -> None:
    data, backbone = TrainingData(dataset="synthetic"), BackboneSpec(name="b")
    spec = FitSpec(data=data, backbone=backbone, method=method, params=params, seed=seed)
    alone = [FitSpec(data=data, backbone=backbone, method=method, params=params, seed=s).run_id for s in seeds]
    assert list(run_ids(spec, seeds)) == alone


def test_the_id_of_a_known_fit_is_what_it_always_was() -> None:
    spec = FitSpec(data=TrainingData(dataset="d"), backbone=BackboneSpec(name="b"), method="x/y.py:Mine", seed=7)
    assert spec.run_id == "mine-s7-3d15f8ec20db"
