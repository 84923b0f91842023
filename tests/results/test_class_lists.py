"""Which list is today's, and what it means that two lists are the same."""

from __future__ import annotations

from spectral_bench.results.class_lists import ClassLists, numbered, positions, same_classes, uncounted
from spectral_bench.results.manifest import DataFacts, Manifest
from spectral_bench.results.record import ClassTable, EvaluationRecord
from spectral_bench.results.specification import View

SEA = ClassTable(classes=["sky", "sea"], raw_ids=[[0], [1, 2]])
LAND = ClassTable(classes=["sky", "sea", "land"], raw_ids=[[0], [1], [2]])


def manifest(written: str, *tables: ClassTable, name: str = "g") -> Manifest:
    sets = {str(len(table.classes)): table for table in tables}
    facts = DataFacts(title="own", class_sets=sets, default_classes=next(iter(sets), ""))
    return Manifest(name=name, written=written, rows=[], data={"mine": facts})


def record(started: str, table: ClassTable) -> EvaluationRecord:
    view = View(dataset="mine", split="val")
    name = str(len(table.classes))
    return EvaluationRecord(
        run_id="r",
        view_id=view.view_id,
        view=view,
        status="done",
        started=started,
        finished=started,
        class_sets={name: table},
        default_classes=name,
    )


def test_the_last_launch_of_any_grid_tells_todays_list():
    lists = ClassLists([manifest("2026-03-02T00:00:00+00:00", SEA, name="b"), manifest("2026-03-01", LAND, name="a")])
    found = lists.find("mine")
    assert found is not None
    assert (found.name, found.table) == ("2", SEA)
    assert lists.find("other") is None


def test_launches_within_a_second_are_told_apart():
    later, before = manifest("2026-03-02T00:00:00.250+00:00", SEA), manifest("2026-03-02T00:00:00+00:00", LAND)
    found = ClassLists([before, later]).find("mine")
    assert found is not None
    assert found.table == SEA


def test_a_launch_outranks_records_and_the_newest_record_the_others():
    records = [record("2026-01-02", SEA), record("2026-05-05", LAND), record("2026-02-02", SEA)]
    found = ClassLists([manifest("2026-03-01", SEA)], records).find("mine")
    alone = ClassLists([], records).find("mine")
    assert found is not None
    assert alone is not None
    assert (found.table, alone.table) == (SEA, LAND)


def test_a_class_set_that_is_gone_is_the_newest_that_was_there():
    lists = ClassLists([manifest("2026-03-01", SEA)], [record("2026-01-01", LAND)])
    found = lists.find("mine", "3")
    assert found is not None
    assert found.table == LAND
    assert lists.names("mine") == ("2", "3")
    assert lists.find("mine", "4") is None


def test_lists_are_the_same_whatever_names_colours_and_order():
    turned = ClassTable(classes=["water", "air"], raw_ids=[[2, 1], [0]], palette=[[1, 2, 3], [4, 5, 6]])
    assert same_classes(SEA, turned)
    assert not same_classes(SEA, LAND)


def test_ids_beyond_a_count_are_named():
    assert uncounted(LAND, 3) == []
    assert uncounted(ClassTable(classes=["a", "b"], raw_ids=[[9, 0], [4]]), 4) == [4, 9]


def test_equal_names_keep_their_own_places():
    assert list(numbered(["a", "b", "a"])) == [("a", 0), ("b", 0), ("a", 1)]
    assert positions(["b", "a", "a"]) == {("b", 0): 0, ("a", 0): 1, ("a", 1): 2}
