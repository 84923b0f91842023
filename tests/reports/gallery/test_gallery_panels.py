from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from report_samples import Outcome, add_row, contingency, write_grid

from spectral_bench.reports import write_all
from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures import maps, qualitative
from spectral_bench.reports.figures.eigenfunctions import eigenfunction_figure
from spectral_bench.reports.figures.maps import headings
from spectral_bench.reports.figures.qualitative import RIGHT, VOID, WRONG, class_colours, errors, qualitative_figure
from spectral_bench.reports.figures.style import rendered, width_of
from spectral_bench.reports.gallery.choice import galleries
from spectral_bench.reports.gallery.panels import Panels, WantedPanel, read_panels, wanted_panels
from spectral_bench.results.panels import Panel, scaled, write_panel
from spectral_bench.results.record import ClassTable
from spectral_bench.results.store import Store

pytestmark = pytest.mark.filterwarnings("error")  # such as a layout that does not fit


@pytest.fixture
def filled(store: Store) -> Store:
    rows = [
        add_row(store, "k_means 方法", {0: Outcome(counts=contingency(10, images=3))}),
        add_row(store, "oracle", {0: Outcome(counts=contingency(20, images=3))}, method="oracle", uses_labels=True),
    ]
    return write_grid(store, *rows)


def fill(store: Store, wanted: Sequence[WantedPanel], functions: dict[str, int]) -> None:
    """Panels of 10 x 20 pixels, the left half of cluster 0, one pixel void, with so many functions a method."""
    rng = np.random.default_rng(0)
    for panel in wanted:
        record = store.evaluation_record(panel.run_id, panel.view.view_id)
        assert record is not None
        clusters = np.arange(200).reshape(10, 20) % 20 // 10
        picture = rng.integers(0, 256, (5, 10, 3), dtype=np.uint8)
        maps = scaled(rng.normal(size=(functions.get(panel.run_id.split("-")[0], 0), 3, 4)).astype(np.float32))
        made = Panel(picture, 1 - clusters, clusters, picture, maps, cover=(1.2, 1.0))
        folder = store.run_folder(panel.run_id)
        write_panel(folder, panel.view.view_id, panel.image_id, record.contingency_sha256, made)


def panels(store: Store, functions: dict[str, int]) -> Panels:
    (gallery,) = galleries(collect(store), store)
    fill(store, wanted_panels([gallery], store), functions)
    found = read_panels(gallery, store)
    assert found is not None
    return found


def visible(figure: Figure | None) -> list[mpl.axes.Axes]:
    assert figure is not None
    return [axes for axes in figure.axes if axes.get_visible() and axes.images]


def test_what_the_store_lacks_is_wanted_once(filled: Store):
    (gallery,) = galleries(collect(filled), filled)
    wanted = wanted_panels([gallery], filled)
    assert len(wanted) == 2 * 3
    fill(filled, wanted[:4], {})
    assert wanted_panels([gallery], filled) == wanted[4:]
    found = read_panels(gallery, filled)
    assert found is not None
    assert [fit.entry.row.title for fit, _ in found.fits] == ["k_means 方法"]  # the other has not all of its images


def test_two_lines_an_image_with_every_fit(filled: Store):
    figure = qualitative_figure(panels(filled, {}))
    shown = visible(figure)
    assert len(shown) == 3 * 2 * 3
    assert figure is not None
    assert [axes.get_title() for axes in shown[:3]] == ["", "k_means\n[U+65B9][U+6CD5]", "oracle †"]
    assert [axes.get_ylabel() for axes in shown[::6]] == ["best, largest\ndisagreement", "median", "worst"]
    assert shown[4].get_xlabel() == "IoU 82"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sky", "sea", "right", "wrong"]
    every = np.asarray(shown[4].images[0].get_array())
    assert (every == WRONG).all()  # the truth of these panels is what the clusters are not


@pytest.mark.parametrize(
    ("texts", "shown", "size"),
    [
        (["deep_spectral", "kmeans, k=64"], ["deep_spectral", "kmeans, k=64"], 6),
        (["RandomDirections, k=64 ‡", "spin"], ["RandomDirections,\nk=64 ‡", "spin"], 5.5),
        (["spectral clustering, all levels"], ["spectral\nclustering, all\nlevels"], 6),
        (["neuralef_kmeans_of_all"], ["neuralef_\nkmeans_of_all"], 6),
        (["方" * 20], ["[U+65B9]…\n[U+65B9]\n[U+65B9]"], 6),
    ],
)
def test_headings_break_between_words_and_get_smaller_before_they_break_one(
    texts: list[str], shown: list[str], size: float
):
    assert headings(texts, 0.75) == (shown, size)


@given(st.text(max_size=40), st.floats(0.5, 2.0))
def test_headings_fit(text: str, width: float):
    (told,), size = headings([text], width)
    lines = told.split("\n")
    assert len(lines) <= 3
    assert all(width_of(list(line.replace(r"\$", "$")), size) <= width for line in lines)


def test_clusters_matched_in_each_image_are_painted_by_its_own_labels(filled: Store):
    (gallery,) = galleries(collect(filled, matching="per_image_hungarian"), filled)
    fill(filled, wanted_panels([gallery], filled), {})
    found = read_panels(gallery, filled)
    assert found is not None
    shown = visible(qualitative_figure(found))
    assert shown[2].get_title() == "oracle † ¶"
    assert (np.asarray(shown[4].images[0].get_array()) == RIGHT).all()  # where one matching for all is all wrong


def test_left_over_clusters_are_painted_as_they_are_scored():
    """As a class that is not in the image, whatever their numbers."""
    classes = qualitative._Classes(np.array([0, 1]), ["sky", "sea"], np.zeros((2, 3), np.uint8))
    scoring = SimpleNamespace(matching="per_image_hungarian")
    entry = SimpleNamespace(protocol=SimpleNamespace(scoring=scoring))
    fit = SimpleNamespace(entry=entry, result=SimpleNamespace(scores=SimpleNamespace(matching=None)))
    panel = SimpleNamespace(clusters=np.array([[0, 0, 9]]), truth=np.array([[0, 0, 0]]))
    named = qualitative._named(fit, panel, classes)  # type: ignore[arg-type]
    assert named[panel.clusters].tolist() == [[0, 0, 1]]


def test_errors_are_told_from_right_and_void():
    predicted, truth = np.array([[0, 1, -1, 1]]), np.array([[0, 0, 0, -1]])
    assert errors(predicted, truth)[0].tolist() == [RIGHT.tolist(), WRONG.tolist(), WRONG.tolist(), VOID.tolist()]


def test_classes_without_a_palette_have_colours_of_their_own():
    table = ClassTable(classes=list("abcdef"), raw_ids=[[index] for index in range(6)])
    assert len({tuple(colour) for colour in class_colours(table).tolist()}) == 6


def test_a_line_a_method_that_has_eigenfunctions(filled: Store):
    assert eigenfunction_figure(panels(filled, {})) is None


@pytest.mark.parametrize(("functions", "width"), [(3, 3.4), (8, 7.0)])
def test_eigenfunctions_beside_their_image(filled: Store, functions: int, width: float):
    figure = eigenfunction_figure(panels(filled, {"kmeans": functions, "oracle": 2}))
    shown = visible(figure)
    assert figure is not None
    assert figure.get_figwidth() == width
    lines = [axes for axes in shown if axes.get_ylabel()]
    assert len(lines) == 2
    assert len(shown) == (1 + functions) + (1 + 2)
    assert all(axes.images[0].get_clim() == (-1, 1) for axes in shown if axes not in lines)
    assert [axes.get_title() for axes in shown[: 1 + functions]] == ["", *map(str, range(1, functions + 1))]


@pytest.mark.parametrize("form", ["pdf", "svg"])
def test_the_same_panels_give_the_same_bytes(filled: Store, form: str):
    one, other = (eigenfunction_figure(panels(filled, {"kmeans": 2})) for _ in range(2))
    assert one is not None
    assert other is not None
    assert rendered(one, form) == rendered(other, form)


@pytest.fixture
def svg_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each form of a picture takes its time, and here one is enough."""
    monkeypatch.setattr("spectral_bench.reports.write.FORMATS", ("svg",))


@pytest.mark.slow
@pytest.mark.usefixtures("svg_only")
def test_a_report_makes_what_is_missing_and_shows_it(filled: Store, tmp_path: Path):
    asked: list[int] = []

    def make(wanted: Sequence[WantedPanel]) -> list[str]:
        asked.append(len(wanted))
        fill(filled, wanted, {"kmeans": 2})
        return []

    for _ in range(2):
        names = {path.name for path in write_all(filled, tmp_path / "out", make_panels=make)}
        assert {"qualitative-1.svg", "eigenfunctions-1.svg"} <= names
    assert asked == [6]
    assert "not shown" not in (tmp_path / "out" / "index.md").read_text()
    assert '<section id="gallery">' in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.usefixtures("svg_only")
def test_a_report_says_what_it_could_not_show(filled: Store, tmp_path: Path):
    written = write_all(filled, tmp_path / "out", make_panels=lambda wanted: ["No panels of x: no data <root>."])
    assert not [path for path in written if path.name.startswith("qualitative")]
    page, index = written[-1].read_text(), (tmp_path / "out" / "index.md").read_text()
    assert "6 panels of the gallery are not shown" in page
    assert "no data &lt;root&gt;" in page
    assert "No panels of x: no data" in index
    assert "6 panels of the gallery are not shown" in index


def test_a_title_of_thousands_of_letters_is_cut_before_its_lines_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    filled = maps._filled

    def telling(parts: Sequence[list[str]], width: float, size: float) -> list[list[str]]:
        tried.append(sum(map(len, parts)))
        return filled(parts, width, size)

    monkeypatch.setattr(maps, "_filled", telling)
    (heading,), _ = headings(["word " * 600], 1.0)
    assert heading.count("\n") <= 2
    assert max(tried) <= 201
