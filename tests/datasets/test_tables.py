from __future__ import annotations

import pytest

from spectral_bench.datasets.tables import RawClass, class_set, load_table, merged_set

OLDER = {"pascal_context": 60, "cityscapes": 34, "ade20k": 151}
LENGTHS = {**OLDER, "coco_stuff": 182, "coco_stuff_27": 27, "pascal_voc": 21, "potsdam": 6}


@pytest.mark.parametrize(("name", "length"), LENGTHS.items())
def test_ids_run_from_zero_without_a_gap_and_names_are_unique(name: str, length: int) -> None:
    rows = load_table(name)
    assert [row.id for row in rows] == list(range(length))
    assert len({row.name for row in rows}) == length
    assert all(row.name == row.name.strip() for row in rows)
    assert all(0 <= value <= 255 for row in rows for value in row.colour)


def test_further_columns_are_kept_by_name() -> None:
    aeroplane = load_table("pascal_context")[1]
    assert aeroplane == RawClass(1, "aeroplane", (128, 0, 0), {"original": 2, "owners": 1})
    assert load_table("cityscapes")[9].other == {}


def test_a_class_set_has_one_class_a_row_in_the_order_given() -> None:
    rows = (RawClass(7, "b", (1, 2, 3), {}), RawClass(2, "a", (4, 5, 6), {}))
    classes = class_set("two", rows)
    assert classes.name == "two"
    assert classes.classes == ("b", "a")
    assert classes.raw_ids == ((7,), (2,))
    assert classes.palette == ((1, 2, 3), (4, 5, 6))


def test_a_merged_set_has_the_ids_of_all_rows_of_a_class() -> None:
    rows = tuple(
        RawClass(i, str(i), (i, 0, 0), {"coarse": c} if c is not None else {}) for i, c in enumerate((1, None, 0, 1))
    )
    merged = merged_set("2", (RawClass(0, "a", (9, 9, 9), {}), RawClass(1, "b", (8, 8, 8), {})), rows, "coarse")
    assert (merged.name, merged.classes, merged.raw_ids) == ("2", ("a", "b"), ((2,), (0, 3)))
    assert merged.palette == ((9, 9, 9), (8, 8, 8))
