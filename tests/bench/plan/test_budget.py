"""What fits into a budget: never more than it, bases and features with what needs them, in the order that was asked."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_lab import Lab

from spectral_bench.bench.plan.budget import Choice, Piece, choose, left_by_row, narrowed, ordered, pieces_of

HOURS = st.one_of(st.none(), st.floats(0, 5))


@st.composite
def pieces(draw: st.DrawFn) -> dict[str, Piece]:
    """Up to ten pieces, each of which may need some that are numbered below it."""
    count = draw(st.integers(1, 10))
    needs = [draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set() for number in range(count)]
    return {
        str(number): Piece(draw(HOURS), frozenset(map(str, needs[number])) | {"done before"}) for number in range(count)
    }


def closure(known: dict[str, Piece], names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in known and name not in found:
            found.add(name)
            todo += known[name].needs
    return found


@given(known=pieces(), data=st.data(), budget=st.floats(0, 20), workers=st.integers(1, 3))
@settings(deadline=None, max_examples=150)
def test_a_choice_holds(known: dict[str, Piece], data: st.DataObject, budget: float, workers: int) -> None:
    order = data.draw(st.lists(st.sampled_from(sorted(known)), unique=True))
    found = choose(known, order, budget, workers)
    # Never over budget, on the clock and in what all workers do.
    assert found.hours <= budget * (1 + 1e-6)
    assert sum(known[name].hours or 0 for name in found.chosen) <= workers * budget * (1 + 1e-6)
    # All that is wanted is chosen or left out; what is chosen comes after what it needs, and nothing else is chosen.
    left = {one.name for one in found.left}
    assert set(order) <= left | set(found.chosen)
    assert set(found.chosen) == closure(known, (name for name in order if name in found.chosen))
    for place, name in enumerate(found.chosen):
        assert known[name].needs & known.keys() <= set(found.chosen[:place])
    # In order: those of known hours first, each as it was wanted, unless a piece before it needs it.
    alone = [name for name in order if name in found.chosen and not any(name in known[one].needs for one in known)]
    certain = [name for name in alone if name not in found.unknown]
    assert [name for name in found.chosen if name in alone] == [*certain, *(one for one in alone if one not in certain)]
    assert all(None in [known[one].hours for one in closure(known, [name])] for name in found.unknown if name in alone)
    # Nothing is left out that would have fitted first of all.
    for one in found.left:
        assert one.hours > one.left


def test_what_does_not_fit_is_passed_over() -> None:
    known = {"a": Piece(1.0), "b": Piece(3.0), "c": Piece(1.0), "d": Piece(0.5)}
    found = choose(known, "abcd", 2.0)
    assert found.chosen == ("a", "c")
    assert [(one.name, one.hours, one.left) for one in found.left] == [("b", 3.0, 1.0), ("d", 0.5, 0.0)]


def test_bases_and_features_come_along_and_count() -> None:
    known = {
        "features": Piece(1.0),
        "base": Piece(2.0, frozenset({"features"})),
        "a": Piece(0.5, frozenset({"base", "features"})),
        "b": Piece(0.5, frozenset({"features"})),
    }
    assert choose(known, ["a", "b"], 3.4).chosen == ("features", "b")
    assert choose(known, ["a", "b"], 3.5).chosen == ("features", "base", "a")
    whole = choose(known, ["a", "b"], 4.0)
    assert (whole.chosen, whole.hours, whole.left) == (("features", "base", "a", "b"), 4.0, ())
    # With two processes b is done beside the base, once the features that both need are there.
    assert choose(known, ["a", "b"], 3.5, workers=2).hours == 3.5
    assert choose(known, ["b", "a"], 3.5, workers=2).chosen == ("features", "b", "base", "a")


def test_what_nobody_knows_comes_last() -> None:
    known = {"a": Piece(None), "b": Piece(1.0), "c": Piece(None, frozenset({"d"})), "d": Piece(3.0)}
    found = choose(known, "abc", 2.0)
    assert (found.chosen, found.unknown) == (("b", "a"), ("a",))
    assert [one.name for one in found.left] == ["c"]  # of which three hours are known
    assert choose({}, (), 1.0) == Choice()


TWO = """\
name: two
defaults: {subset: 8, seeds: [3, 5]}
runs:
  - {method: kmeans, params: {k: 8}}
  - {method: neuralef_kmeans, params: {k: 8, batch_size: 4}}
"""


def test_rows_or_seeds_first(lab: Lab) -> None:
    plan = lab.plan(TWO)
    seeds = {run.run_id: (run.spec.method, run.spec.seed) for run in plan.runs}
    rows = [("kmeans", 3), ("kmeans", 5), ("neuralef_kmeans", 3), ("neuralef_kmeans", 5)]
    assert [seeds[name] for name in ordered(plan, "rows")] == rows
    assert [seeds[name] for name in ordered(plan, "seeds")] == [rows[0], rows[2], rows[1], rows[3]]
    first = plan.runs[0]
    lab.finish(first.spec, first.views)
    assert first.run_id not in ordered(lab.plan(TWO), "rows")


def test_a_plan_as_pieces(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = lab.plan(TWO)
    monkeypatch.setattr("spectral_bench.bench.plan.budget._hours", lambda parts, measured: float(len(parts)))
    found = pieces_of(plan)
    runs = {run.run_id: run for run in plan.runs}
    caches = found.keys() - runs.keys()
    assert len(caches) == 2  # of the training images, and of those that are evaluated
    for name, run in runs.items():
        needs = found[name].needs
        assert needs - caches == ({run.requires} if run.requires else set())
        assert bool(needs & caches)
    kept = next(run for run in plan.runs if run.spec.method == "neuralef_kmeans")
    part = narrowed(plan, [kept.requires or "", kept.run_id, *caches])
    assert [run.run_id for run in part.unfinished] == [kept.requires, kept.run_id]
    assert len(part.runs[0].parts) > 1  # features are counted for the first that is left
    home = {name: name for name in runs}
    lacking = dict(enumerate(left_by_row(plan, found, [*caches, kept.requires or "", kept.run_id], home)))
    told = [([run.spec.seed for run in runs], hours) for runs, hours in lacking.values()]
    # Of the second row one seed is left, with the fit that it starts from.
    assert [seeds for seeds, _ in told] == [[3, 5], [5]]
    other = next(run for run in plan.runs if run.spec.method == "neuralef_kmeans" and run.spec.seed == 5)
    assert told[1][1] == found[other.run_id].hours + found[other.requires].hours
