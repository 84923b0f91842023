"""Neutral words: names of machines and folders go, ids and what belongs together stay."""

from __future__ import annotations

from typing import Any

import pytest

from spectral_bench.results.neutral import Neutral
from spectral_bench.results.specification import BackboneSpec, FitSpec, TrainingData, View


def spec(dataset: str, known_as: str = "") -> dict[str, Any]:
    data = TrainingData(dataset=dataset, known_as=known_as)
    return FitSpec(data=data, backbone=BackboneSpec(name="random"), method="kmeans").model_dump(mode="json")


def neutral(*documents: Any) -> list[Any]:
    words = Neutral()
    words.learn(documents)
    return [words.document(document) for document in documents]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/anna/x.yaml: no such file", "/folder-1/x.yaml: no such file"),
        ("folder:/home/anna/x.yaml", "folder:/folder-1/x.yaml"),
        ('File "/home/anna/x.py", line 3', 'File "/folder-1/x.py", line 3'),
        ("--out=/home/anna/store", "--out=/folder-1/store"),
        ("see https://example.org/a/b/c.html", "see https://example.org/a/b/c.html"),
        ("12 images/s and m/s/s", "12 images/s and m/s/s"),
        ("methods/own/mine.py:Mine", "methods/own/mine.py:Mine"),
        ("../data/x.yaml", "../data/x.yaml"),
        ("/data", "/data"),
        ("", ""),
    ],
)
def test_folders_of_absolute_paths_go(text: str, expected: str) -> None:
    assert neutral({"warnings": [text]}) == [{"warnings": [expected]}]


def test_a_value_that_is_a_path_may_hold_blanks() -> None:
    (found,) = neutral({"dataset": "folder:/home/anna b/my data/x.yaml", "title": "a /b c"})
    assert found == {"dataset": "folder:/folder-1/x.yaml", "title": "a /b c"}


def test_the_same_folder_has_the_same_word_everywhere_and_unlike_ones_have_others() -> None:
    first, second = neutral({"data": {"/a/b/x.yaml": {"title": "/a/c/x.yaml"}}}, {"warnings": ["/a/c/y and /a/b/z"]})
    assert first == {"data": {"/folder-1/x.yaml": {"title": "/folder-2/x.yaml"}}}
    assert second == {"warnings": ["/folder-2/y and /folder-1/z"]}


def test_hosts_and_what_a_cluster_calls_its_parts_go() -> None:
    record = {
        "environment": {"host": "anna-pc", "slurm": {"nodes": "n[1-2]", "cluster": "blue", "partition": "gpu"}},
        "execution": {"sitting": "anna-pc, process 7 of 2026-01-02", "executor": "slurm"},
        "failure": {"message": "anna-pc is full, anna-pc2 is not"},
        "spec": spec("camvid"),
    }
    (found,) = neutral(record)
    assert found["environment"] == {
        "host": "host-1",
        "slurm": {"nodes": "host-2", "cluster": "cluster-1", "partition": "partition-1"},
    }
    assert found["execution"]["sitting"] == "host-1, process 7 of 2026-01-02"
    assert found["failure"]["message"] == "host-1 is full, anna-pc2 is not"
    assert found["spec"] == record["spec"]


def test_ids_stay() -> None:
    """A data set that is known by its content loses its folder; where an old id rests on the folder, it is left."""
    known, old = spec("folder:/home/anna/x.yaml", "folder:1234"), spec("folder:/home/berta/x.yaml")
    words = Neutral()
    words.learn([{"spec": known}, {"spec": old}])
    first, second = (words.document({"spec": one})["spec"] for one in (known, old))
    assert first["data"]["dataset"] == "folder:/folder-1/x.yaml"
    assert FitSpec.model_validate(first).run_id == FitSpec.model_validate(known).run_id
    assert second == old
    assert words.fixed == ("/home/berta",)


def test_views_of_evaluations_and_of_grids_stay() -> None:
    view = View(dataset="folder:/home/anna/x.yaml", split="val").model_dump(mode="json")
    grid = {"rows": [{"protocols": [{"view": view, "fit_view": view}]}]}
    assert neutral({"view": view}, grid) == [{"view": view}, grid]


def test_a_second_time_changes_nothing() -> None:
    documents = [{"warnings": [f"/a/{name}/x" for name in "bcdefghijklm"]}, {"environment": {"host": "anna-pc"}}]
    once = neutral(*documents)
    assert neutral(*once) == once
    more = neutral(*once, {"warnings": ["/new/one/x"]}, {"environment": {"host": "berta-pc"}})
    assert more[:2] == once
    assert more[2:] == [{"warnings": ["/folder-13/x"]}, {"environment": {"host": "host-2"}}]
