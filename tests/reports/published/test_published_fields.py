"""A published protocol that equals the measured one has no dagger; one changed field adds its own, and no other."""

from __future__ import annotations

import re
from typing import Any

import pytest
from report_samples import add_row, outcomes, write_grid

from spectral_bench.reports.collect import collect
from spectral_bench.reports.published import features
from spectral_bench.reports.published.fields import FIELDS, differing, look_words, measured_fields, published_fields
from spectral_bench.reports.published.table import QUOTED, published_table
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.table import Table
from spectral_bench.results.published import Look, Published, PublishedProtocol, PublishedRow
from spectral_bench.results.published.schema import Source
from spectral_bench.results.specification import (
    BackboneSpec,
    Crf,
    Features,
    FitSpec,
    Protocol,
    Resize,
    Scoring,
    TrainingData,
    View,
)
from spectral_bench.results.store import Store

VIEW = View(
    dataset="cityscapes", split="val", resize=Resize(mode="short_side", short_side=320), centre_crop=320, crf=Crf()
)
MEASURED = Protocol(name="centre320", view=VIEW, scoring=Scoring())
SAME: dict[str, Any] = {
    "dataset": "cityscapes",
    "classes": 2,
    "split": "val",
    "images": "all",
    "view": Look(resize=VIEW.resize, centre_crop=320),
    "matching": "iou",
    "crf": "dense",
    "k": 2,
    "seeds": 3,
    "selection": "mean",
    "uses_labels": False,
    "facet": "feature maps",
    "layer": "all",
    "flip": "none",
}
CHANGES = [
    ("dataset", {"dataset": "ade20k"}, "data set: ade20k; measured rows: cityscapes."),
    ("classes", {"classes": 27}, "classes: 27; measured rows: 2."),
    ("split", {"split": "test"}, "split: test; measured rows: val."),
    ("images", {"images": 352}, "images: 352; measured rows: all 1."),
    ("view", {"view": Look()}, "view: own size; measured rows: short side 320, centre 320."),
    ("view", {"view": "patch level"}, "view: patch level; measured rows: short side 320, centre 320."),
    (
        "matching",
        {"matching": "hungarian"},
        "matching: Hungarian on counts, one-to-one; measured rows: IoU, many-to-one.",
    ),
    ("crf", {"crf": "none"}, "CRF: no; measured rows: yes."),
    ("crf", {"crf": "black_image"}, "CRF: yes, on a black image; measured rows: yes."),
    ("k", {"k": 256}, "K: 256; measured rows: 2."),
    ("k", {"k": "none"}, "K: none; measured rows: 2."),
    ("runs", {"seeds": 1}, "runs: 1; measured rows: mean of 3."),
    ("runs", {"selection": "best"}, "runs: best of 3; measured rows: mean of 3."),
    ("uses_labels", {"uses_labels": True}, "uses labels: yes; measured rows: no."),
    ("facet", {"facet": "keys"}, "features: keys; measured rows: feature maps."),
    ("layer", {"layer": "last"}, "layer: last; measured rows: several levels."),
    ("layer", {"layer": "block 8"}, "layer: block 8; measured rows: several levels."),
    (
        "flip",
        {"flip": "scores"},
        "mirrored image: its scores averaged in; measured rows: not looked at.",
    ),
]


def published_row(timm: str | None = "random", **changes: Any) -> PublishedRow:
    return PublishedRow(
        method="theirs",
        backbone="Theirs",
        timm=timm,
        protocol=PublishedProtocol(**SAME | changes),
        metrics={"mIoU": 12.5},
        source=Source(key="s", title="A paper"),
        where="Table 1",
        file="f",
    )


@pytest.fixture
def entries(store: Store) -> list[ScoredRow]:
    write_grid(store, add_row(store, "ours", outcomes(10, 11, 12), protocols=[MEASURED], dataset="cityscapes"))
    return collect(store)


def table(entries: list[ScoredRow], *rows: PublishedRow) -> Table:
    return published_table(entries, Published(rows=rows, facts=()), ["all"])


def daggers(made: Table) -> list[str]:
    return [note.text for note in made.notes if re.fullmatch(r"†\d+", note.symbol)]


def test_the_same_protocol_has_no_dagger(entries: list[ScoredRow]):
    made = table(entries, published_row())
    assert daggers(made) == []
    assert all(cell.marks == () for cell in made.rows[1].cells.values())


@pytest.mark.parametrize(("key", "change", "text"), CHANGES)
def test_one_changed_field_adds_its_dagger_and_no_other(
    entries: list[ScoredRow], key: str, change: dict[str, Any], text: str
):
    made = table(entries, published_row(**change))
    assert daggers(made) == [text]
    marked = {name for name, cell in made.rows[1].cells.items() if "†1" in cell.marks}
    assert marked == {key}


def test_one_to_one_matchings_that_differ_have_a_dagger(store: Store):
    scoring = MEASURED.scoring.model_copy(update={"matching": "hungarian"})
    one_to_one = MEASURED.model_copy(update={"scoring": scoring})
    write_grid(store, add_row(store, "ours", outcomes(10, 11, 12), protocols=[one_to_one], dataset="cityscapes"))
    assert daggers(table(collect(store), published_row(matching="hungarian"))) == []
    (rest,) = daggers(table(collect(store), published_row(matching="hungarian_rest_first")))
    assert "left-over clusters as the first class" in rest
    (present,) = daggers(table(collect(store, matching="hungarian_present"), published_row(matching="hungarian")))
    assert present.endswith("measured rows: Hungarian on counts, one-to-one, without absent classes.")


def test_another_backbone_and_one_without_a_name(entries: list[ScoredRow]):
    assert daggers(table(entries, published_row(timm="vit_small_patch16_384"))) == [
        "backbone: Theirs; measured rows: random."
    ]
    assert daggers(table(entries, published_row(timm=None))) == ["backbone: Theirs; measured rows: random."]


@pytest.mark.parametrize("field", [name for name in SAME if name not in ("dataset", "selection")])
def test_what_is_not_stated_agrees_with_nothing(entries: list[ScoredRow], field: str):
    (text,) = daggers(table(entries, published_row(**{field: None})))
    assert "not stated" in text


def test_every_field_of_a_published_protocol_is_compared():
    compared = {key for key, _, _ in CHANGES} | {"backbone"}
    assert compared == set(FIELDS)
    changed = {field for _, change, _ in CHANGES for field in change}
    assert changed == set(PublishedProtocol.model_fields)


def test_a_number_of_images_agrees_with_all_of_as_many(entries: list[ScoredRow]):
    fields = [measured_fields(entry) for entry in entries]
    assert differing(published_fields(published_row(images=1)), fields) == []


def test_a_value_that_some_measured_row_has_is_no_difference(store: Store):
    rows = [
        add_row(store, "free", outcomes(1, 2, 3), protocols=[MEASURED]),
        add_row(store, "cheat", outcomes(4, 5, 6), protocols=[MEASURED], uses_labels=True),
    ]
    write_grid(store, *rows)
    assert daggers(table(collect(store), published_row(uses_labels=True))) == []


def test_a_matching_fitted_on_another_split_is_another(store: Store):
    fitted = MEASURED.model_copy(update={"fit_view": VIEW.model_copy(update={"split": "train"})})
    write_grid(store, add_row(store, "ours", outcomes(1, 2, 3), protocols=[fitted]))
    (text,) = [text for text in daggers(table(collect(store), published_row())) if text.startswith("matching")]
    assert text.endswith("measured rows: IoU, many-to-one, fitted on train.")


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (Look(), "own size"),
        (Look(resize=Resize(mode="exact", size=(360, 480)), label_resize=True), "360 x 480, labels too"),
        (
            Look(resize=Resize(mode="short_side", short_side=520), window=480, stride=320),
            "short side 520, windows of 480 every 320",
        ),
    ],
)
def test_views_in_words(look: Look, words: str):
    assert look_words(look) == words


def fit_of(name: str, options: dict[str, Any], params: dict[str, Any], mode: str = "cache") -> FitSpec:
    return FitSpec(
        data=TrainingData(dataset="cityscapes"),
        features=Features(mode=mode),
        backbone=BackboneSpec(name=name, options=options),
        method="kmeans",
        params=params,
    )


@pytest.mark.parametrize(
    ("name", "options", "params", "facet", "layer"),
    [
        ("vit_small_patch8_224.dino", {}, {"input": "last"}, "keys", "last"),
        ("vit_small_patch8_224.dino", {"facet": "tokens"}, {"input": "last_l2"}, "tokens", "last"),
        ("vit_small_patch16_384", {}, {}, "tokens", "all"),
        ("vit_base_patch14_dinov2.lvd142m", {"layers": [8, 11]}, {"input": "last"}, "keys", "last"),
        ("vit_large_patch14_dinov2.lvd142m", {"layers": [8, 11]}, {"input": "last"}, "keys", "block 11"),
        ("vit_small_patch16_384", {"layers": [8, 11], "facet": "values"}, {"level": 0}, "values", "blocks 8, 11"),
        ("vit_giant_patch14_dinov2", {"layers": [39]}, {"level": -1}, "keys", "block 39"),
        ("efficientnet_lite0", {}, {"features": "last"}, "feature maps", "last"),
        ("own.py:Mine", {}, {"input": "last"}, None, None),
        # Deep Spectral compares levels, and describes its segments by levels; SpIN clusters none.
        ("efficientnet_lite0", {}, {"level": -1, "input": "last"}, "feature maps", "last"),
        ("efficientnet_lite0", {}, {"level": "all_standardised", "input": "last"}, "feature maps", "all"),
        ("efficientnet_lite0", {}, {"level": -1, "input": "all_standardised_l2"}, "feature maps", "all"),
        ("efficientnet_lite0", {}, {"features": "last", "input": "eigenfunctions_l2"}, "feature maps", "last"),
        ("efficientnet_lite0", {}, {"input": ["last"]}, "feature maps", "all"),
        ("aimv2_large_patch14_224", {}, {"input": "last"}, "tokens", "last"),
        ("efficientvit_b0", {}, {"input": "last"}, "feature maps", "last"),
        ("vit_small_patch16_36x1_224", {"layers": [11]}, {"input": "last"}, "tokens", "block 11"),
    ],
)
def test_features_of_measured_rows(
    name: str, options: dict[str, Any], params: dict[str, Any], facet: str | None, layer: str | None
):
    spec = fit_of(name, options, params)
    assert (features.facet(spec), features.layer(spec)) == (facet, layer)


def test_features_of_fits_by_their_names_are_those_of_the_backbones():
    """The rule that reports have for records whose options name no facet is that of the backbones."""
    from spectral_bench.bench.features.backbones.timm_vit import TimmTransformer

    names = ("vit_small_patch8_224.dino", "vit_base_patch14_dinov2", "vit_small_patch16_384", "deit_small_patch16_224")
    for name in names:
        backbone = TimmTransformer(name, {})
        found = features.facet(fit_of(name, {}, {"input": "last"}))
        assert {"last_keys": "keys"}.get(backbone.facet, backbone.facet) == found
        assert features.layer(fit_of(name, {"layers": [8, backbone.layers[-1]]}, {"input": "last"})) == "last"


def test_every_network_of_timm_is_known_by_its_name_as_a_transformer_or_not():
    from spectral_bench.bench.features.backbones.timm_names import _kept

    for name, shape in _kept()["models"].items():
        maps = features.facet(fit_of(name, {}, {})) == "feature maps"
        assert maps == ("stages" in shape), name
        if not maps and (last := features._last_block(BackboneSpec(name=name))) is not None:
            assert last == shape["depth"] - 1, name


def test_a_mirrored_image_agrees_with_one_averaged_alike(store: Store):
    mirrored = MEASURED.model_copy(update={"view": VIEW.model_copy(update={"flip": "features"})})
    write_grid(store, add_row(store, "ours", outcomes(1, 2, 3), protocols=[mirrored], dataset="cityscapes"))
    assert daggers(table(collect(store), published_row(flip="features"))) == []
    (text,) = daggers(table(collect(store), published_row(flip="scores")))
    assert text == "mirrored image: its scores averaged in; measured rows: its features averaged in."


def test_numbers_that_are_quoted_say_so(entries: list[ScoredRow]):
    quoted = published_row().model_copy(update={"confidence": "read-2nd"})
    made = table(entries, quoted, published_row(matching="text"))
    marks = [[note.text for note in made.notes if note.symbol in row.cells["configuration"].marks] for row in made.rows]
    assert marks == [[], [QUOTED], []]


def test_a_published_matching_in_each_image_is_that_of_the_same_name(entries: list[ScoredRow], store: Store):
    (text,) = daggers(table(entries, published_row(matching="per_image_hungarian")))
    assert "anew in each image, sums over images; measured rows: IoU" in text
    ours = collect(store, matching="per_image_hungarian")
    assert daggers(table(ours, published_row(matching="per_image_hungarian"))) == []
