from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.sound import count_warning, require_no_problems


def _data(problems: list[str], found: int = 2, official: int | None = 2) -> Any:
    def listed(split: str, *, labels: bool = True) -> list[str]:
        return problems if labels else [line for line in problems if "label" not in line]

    return SimpleNamespace(
        info=SimpleNamespace(name="toy", splits={"val": official}),
        problems=listed,
        images=lambda split: SimpleNamespace(ids=("x",) * found),
    )


def test_a_sound_split_passes() -> None:
    require_no_problems(_data([]), "val")


def test_the_first_problem_is_raised_with_the_count() -> None:
    with pytest.raises(DataError, match=r"^a\.jpg: broken \(and 1 more: see `bench data verify`\)$"):
        require_no_problems(_data(["a.jpg: broken", "b.png: label broken"]), "val")


def test_a_fit_asks_about_the_images_only() -> None:
    require_no_problems(_data(["b.png: label broken"]), "val", labels=False)
    with pytest.raises(DataError, match=r"^b\.png: label broken$"):
        require_no_problems(_data(["b.png: label broken"]), "val")


@pytest.mark.parametrize(("found", "official"), [(2, 2), (7, None)])
def test_the_official_number_and_a_users_own_give_no_warning(found: int, official: int | None) -> None:
    assert count_warning(_data([], found, official), "val") is None


@pytest.mark.parametrize("found", [1, 3])
def test_any_other_number_gives_one(found: int) -> None:
    assert count_warning(_data([], found), "val") == f"toy, split val: {found} images found, 2 published"
