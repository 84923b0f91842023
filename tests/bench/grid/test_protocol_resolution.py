from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spectral_bench.bench.grid.protocol import FOLDER, check_clusters, class_count, find, load, resolve
from spectral_bench.common.documents.document import Place, standing_at
from spectral_bench.common.errors import ConfigError
from spectral_bench.datasets.interface import ClassSet, DataInfo
from spectral_bench.results.specification import Crf, Protocol, Resize, Scoring, View


def classes(name: str, number: int) -> ClassSet:
    ids = tuple((i,) for i in range(number))
    return ClassSet(name, tuple(f"c{i}" for i in range(number)), ids, tuple((i, i, i) for i in range(number)))


STREETS = DataInfo(
    name="cityscapes",
    title="Streets",
    splits={"train": 2975, "val": 500},
    n_raw_labels=34,
    class_sets={"19": classes("19", 19), "27": classes("27", 27)},
    default_classes="19",
    short_side=1024,
    window=768,
    stride=512,
)
SMALL = DataInfo("small", "Small", {"train": 8, "val": 4}, 3, {"3": classes("3", 3)}, "3", evaluation_size=(48, 64))


def resolved(value: Any, info: DataInfo = STREETS, subset: int | None = None) -> Protocol:
    return resolve(
        load(standing_at(Place("g.yaml:3", "protocols[0]"), value), FOLDER), info, split="val", subset=subset
    )


def test_whole_resizes_to_the_evaluation_size_or_not_at_all() -> None:
    protocol = resolved("whole", SMALL)
    assert protocol == Protocol(
        name="whole",
        view=View(dataset="small", split="val", resize=Resize(mode="exact", size=(48, 64))),
        scoring=Scoring(classes="", matching="iou"),
    )
    assert resolved("whole", STREETS).view.resize == Resize()


def test_sliding_takes_side_window_and_stride_from_the_data_set() -> None:
    protocol = resolved("sliding")
    assert protocol.view == View(
        dataset="cityscapes",
        split="val",
        resize=Resize(mode="short_side", short_side=1024),
        window=768,
        stride=512,
    )
    assert protocol.scoring.classes == "19"


def test_centre320_crops_labels_too_and_counts_the_papers_classes() -> None:
    protocol = resolved("centre320")
    assert (protocol.view.centre_crop, protocol.view.label_resize) == (320, True)
    assert protocol.view.resize == Resize(mode="short_side", short_side=320)
    assert (protocol.scoring.classes, class_count(protocol, STREETS)) == ("27", 27)
    assert class_count(resolved("centre320", SMALL), SMALL) == 3


def test_the_matching_can_be_fitted_on_all_of_another_split() -> None:
    protocol = resolved({"name": "p", "extends": "sliding", "scoring": {"fit_split": "train"}}, subset=100)
    assert protocol.fit_view == protocol.view.model_copy(update={"split": "train", "subset": None})
    assert protocol.view.subset == 100


def test_a_subset_can_be_scored_with_the_matching_of_the_whole_split() -> None:
    protocol = resolved({"name": "p", "view": {"subset": 352}, "scoring": {"fit_split": "val"}})
    assert protocol.fit_view is not None
    assert (protocol.view.subset, protocol.fit_view.subset) == (352, None)
    assert resolved({"name": "p", "scoring": {"fit_split": "val"}}).fit_view is None


def test_a_protocol_may_fix_split_and_subset() -> None:
    view = resolved({"name": "p", "view": {"split": "train", "subset": 7}}, subset=3).view
    assert (view.split, view.subset) == ("train", 7)


def test_an_empty_crf_has_the_papers_settings() -> None:
    assert resolved({"name": "p", "extends": "whole", "view": {"crf": {}}}).view.crf == Crf()


@pytest.mark.parametrize(
    ("value", "info", "says"),
    [
        (
            "sliding",
            SMALL,
            "protocol sliding takes short_side, window, stride from the data set, but small states none",
        ),
        ("whole", replace(SMALL, class_sets={}), "data set small has no labels"),
        ({"view": {"rsize": {}}}, SMALL, 'view.rsize: unknown key "rsize"; did you mean "resize"?'),
        ({"view": {"dataset": "x"}}, SMALL, "view.dataset: the data set of a view is chosen by the runs"),
        ({"view": {"split": "vla"}}, SMALL, 'view.split: unknown split of small "vla"; did you mean "val"?'),
        ({"view": {"subset": 5}}, SMALL, "view.subset: 5 images are more than the 4 of small val"),
        ({"view": {"window": 64}}, SMALL, "window and stride belong together"),
        (
            {"view": {"window": 64, "stride": 65}},
            SMALL,
            "a stride of 65 leaves gaps between windows of 64",
        ),
        ({"view": {"window": 64, "stride": 8, "centre_crop": 32}}, SMALL, "window and centre_crop exclude each other"),
        ({"view": {"resize": {"mode": "exact"}}}, SMALL, "view.resize: mode exact and a size belong together"),
        ({"view": {"resize": {"mode": "exact", "size": [8, 64]}}}, SMALL, "both sides must be at least 16 pixels"),
        (
            {"view": {"crf": {"iterations": 0}}},
            SMALL,
            "view.crf.iterations: expected greater than or equal to 1, got 0",
        ),
        ({"scoring": {"matching": "hungarain"}}, SMALL, 'unknown value "hungarain"; did you mean "hungarian"?'),
        ({"scoring": {"classes": "4"}}, SMALL, 'scoring.classes: unknown class set of small "4"; valid: 3'),
        ({"scoring": {"label_budget": 5}}, SMALL, "label_budget: it counts images of another split, which fit_split"),
        (
            {"scoring": {"label_budget": 5, "fit_split": "val"}},
            SMALL,
            "scoring.label_budget: fit_split: val is the split that is scored; name another, such as train",
        ),
        (
            {"scoring": {"label_budget": 500, "fit_split": "train"}},
            SMALL,
            "scoring.label_budget: 500 images are more than the 8 of small train",
        ),
        ({"scoring": {"fit_split": "trian"}}, SMALL, 'unknown split of small "trian"; did you mean "train"?'),
    ],
)
def test_what_does_not_fit_the_data_set_is_refused(value: Any, info: DataInfo, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved({"name": "p", **value} if isinstance(value, dict) else value, info)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_all_faults_of_a_protocol_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        resolved({"name": "p", "view": {"window": 1, "stride": 0, "crop": 3}, "scoring": {"match": "iou"}})
    assert len(str(caught.value).splitlines()) == 4


def test_hungarian_needs_as_many_clusters_as_classes() -> None:
    definition = find("hungarian", FOLDER)
    protocol = resolved("hungarian")
    check_clusters(definition, protocol, STREETS, 27)
    with pytest.raises(ConfigError, match=r'k is 64, but the class set "27" of cityscapes has 27 classes'):
        check_clusters(definition, protocol, STREETS, 64)
    check_clusters(find("centre320", FOLDER), protocol, STREETS, 64)


PUBLISHED = {
    # data set -> short side, window, stride and classes of sliding, classes of centre320
    "pascal_context": (520, 480, 320, 60, 59),
    "cityscapes": (1024, 768, 512, 19, 27),
    "ade20k": (512, 512, 512, 150, 150),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_protocols_of_the_three_benchmarks_are_the_published_ones(name: str) -> None:
    from spectral_bench.datasets.registry import data_info

    info = data_info(name)
    short_side, window, stride, sliding_classes, centre_classes = PUBLISHED[name]
    sliding, centre, hungarian = (resolved(protocol, info) for protocol in ("sliding", "centre320", "hungarian"))
    assert sliding.view.resize == Resize(mode="short_side", short_side=short_side)
    assert (sliding.view.window, sliding.view.stride) == (window, stride)
    assert (sliding.view.label_resize, sliding.view.centre_crop) == (False, None)
    assert class_count(sliding, info) == sliding_classes
    assert class_count(centre, info) == centre_classes
    assert class_count(hungarian, info) == centre_classes
    assert (centre.view.window, centre.view.centre_crop, centre.view.label_resize) == (None, 320, True)
    assert hungarian.view == centre.view
    assert (sliding.scoring.matching, centre.scoring.matching, hungarian.scoring.matching) == (
        "iou",
        "iou",
        "hungarian",
    )


@pytest.mark.parametrize("name", ["synthetic", "camvid", *PUBLISHED])
@pytest.mark.parametrize("protocol", ["whole", "centre320", "hungarian"])
def test_these_protocols_suit_every_labelled_data_set(name: str, protocol: str) -> None:
    from spectral_bench.datasets.registry import data_info

    found = resolved(protocol, data_info(name), subset=2)
    assert (found.view.dataset, found.view.subset, found.view.crf) == (name, 2, None)
    assert Protocol.model_validate_json(found.model_dump_json()) == found


def test_own_values_go_before_those_that_an_extended_protocol_states_of_a_data_set() -> None:
    assert resolved("sliding").scoring.classes == "19"
    assert resolved({"name": "p", "extends": "sliding", "scoring": {"classes": "27"}}).scoring.classes == "27"
    own = {"name": "p", "extends": "sliding", "scoring": {"classes": "27"}, "view": {"resize": {"short_side": 512}}}
    per_data = {"cityscapes": {"scoring": {"classes": "19"}, "view": {"resize": {"short_side": 256}}}}
    both = resolved(own | {"datasets": per_data})
    assert (both.scoring.classes, both.view.resize.short_side) == ("19", 256)
    with pytest.raises(ConfigError, match=r'unknown class set of cityscapes "150"'):
        resolved({"name": "p", "extends": "sliding", "scoring": {"classes": "150"}})
