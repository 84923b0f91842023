"""Today's code and data, and what of them has changed since records were made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path, PurePath
from typing import Literal, Protocol, TypeVar

from spectral_bench.bench.code.fingerprint import changed
from spectral_bench.bench.code.fingerprint import is_own_file as is_own
from spectral_bench.bench.code.records import evaluation_code, fit_code, in_todays_words
from spectral_bench.bench.plan.records import Recorded, RecordedEvaluation, RecordedFit
from spectral_bench.common.digests import apart, tells_contents
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import few
from spectral_bench.common.registry import short_name
from spectral_bench.datasets.digests import label_files
from spectral_bench.datasets.interface import DataRoots, DataSet, ImageLoader
from spectral_bench.datasets.registry import open_data
from spectral_bench.datasets.subset import subset as drawn
from spectral_bench.results.record import files_seen
from spectral_bench.results.specification import FitSpec, View

DataState = Literal["as it was", "same names and sizes", "changed", "not at hand"]


Found = TypeVar("Found")


class Code(Protocol):
    """The fingerprints of today's code that records depend on, module by module."""

    def fit(self, method: str, dataset: str, backbone: str) -> Mapping[str, str]:
        """What a fit on a data set depends on."""

    def evaluation(self, method: str, dataset: str, backbone: str, names: str = "") -> Mapping[str, str]:
        """What an evaluation on a data set depends on besides its fit; ``names``: the network that names clusters."""


class Data(Protocol):
    """What the files that are there today tell; None where they are not at hand, which says nothing of any run."""

    def images(self, dataset: str, split: str) -> str | None:
        """Of the images of a split."""

    def labels(self, dataset: str, split: str) -> str | None:
        """Of the labels of a split."""

    def count(self, dataset: str, split: str) -> int | None:
        """The images of a split, of which there is no digest here but their number."""

    def sizes(self, dataset: str, split: str, subset: int | None = None) -> Iterator[tuple[int, int]]:
        """(Height, width) in pixels of each image of a split or of a subset of it; none where they are not at hand."""


class CurrentCode:
    """Fingerprints of the project as it stands, each combination of parts read once.

    A record may be of a method, a data set or a backbone that is not here, such as that of a package which is not
    installed: then there is no code of it, and all that the record names has gone.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Mapping[str, str]] = {}

    def fit(self, method: str, dataset: str, backbone: str) -> Mapping[str, str]:
        """Module -> fingerprint of what a fit on a data set depends on."""
        return self._read("fit", (method, dataset, backbone), fit_code)

    def evaluation(self, method: str, dataset: str, backbone: str, names: str = "") -> Mapping[str, str]:
        """Module -> fingerprint of what an evaluation on a data set depends on besides its fit."""
        return self._read("evaluation", (method, dataset, backbone, *([names] if names else [])), evaluation_code)

    def _read(self, part: str, names: tuple[str, ...], read: Callable[..., Mapping[str, str]]) -> Mapping[str, str]:
        key = (part, *names)
        if key not in self._known:
            try:
                self._known[key] = read(*names)
            except ConfigError:  # a part that is not here: see the class
                self._known[key] = {}
        return self._known[key]


class CurrentData:
    """The data sets in some roots, each split looked at once. Files are read where they are not as they were last time.

    Args:
        roots: where data sets lie.
    """

    def __init__(self, roots: DataRoots) -> None:
        self._roots = roots
        self.images = cache(self._images)
        self.labels = cache(self._labels)
        self.count = cache(self._count)
        self._loader = cache(self._listed)
        # What was read so far, and what reads on: rows of one grid ask for the sizes of the same images.
        self._sizes: dict[tuple[str, str, int | None], tuple[list[tuple[int, int]], Iterator[tuple[int, int]]]] = {}

    def sizes(self, dataset: str, split: str, subset: int | None = None) -> Iterator[tuple[int, int]]:
        """As ``Data``: by headers where images are files, one after the other, up to the first that cannot be read."""
        known, more = self._sizes.setdefault((dataset, split, subset), ([], self._read_sizes(dataset, split, subset)))
        for place in count():
            if place == len(known):
                if (size := next(more, None)) is None:
                    return
                known.append(size)
            yield known[place]

    def _read_sizes(self, dataset: str, split: str, subset: int | None) -> Iterator[tuple[int, int]]:
        with suppress(Exception):  # as ``_at_hand``
            opened, images = self._loader(dataset, split)
            by_header, path = getattr(opened, "image_size", None), getattr(images, "path", None)
            for image_id in drawn(images.ids, subset):
                if by_header is not None and path is not None:
                    yield by_header(path(image_id))
                else:
                    height, width = images.image(image_id).shape[:2]
                    yield height, width

    def _listed(self, dataset: str, split: str) -> tuple[DataSet, ImageLoader]:
        opened = open_data(dataset, self._roots)
        return opened, opened.images(split)

    def _images(self, dataset: str, split: str) -> str | None:
        return _at_hand(lambda: self._loader(dataset, split)[1].digest())

    def _labels(self, dataset: str, split: str) -> str | None:
        return _at_hand(lambda: label_files(open_data(dataset, self._roots).labels(split)))

    def _count(self, dataset: str, split: str) -> int | None:
        return _at_hand(lambda: len(self._loader(dataset, split)[1].ids))


def _at_hand(read: Callable[[], Found]) -> Found | None:
    try:
        return read()
    except Exception:  # a data set of others may raise anything, and whoever works with the data hears of it then
        return None


@dataclass(frozen=True)
class Places:
    """Where the parts of a run lie today.

    Attributes:
        method: name or path of the method.
        dataset: of the data set that it is trained on.
        backbone: of the backbone.
        evaluated: view id -> that of the data set that is looked at; others are where they were.
    """

    method: str
    dataset: str
    backbone: str
    evaluated: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, fit: RecordedFit, spec: FitSpec | None = None, views: Iterable[View] = ()) -> Places:
        """Of a recorded fit as it is asked for today, if that is known."""
        evaluated = {view.view_id: view.dataset for view in views}
        if spec is not None:
            return cls(spec.method, spec.data.dataset, spec.backbone.name, evaluated)
        return cls(fit.method, fit.dataset, backbone_of(fit), evaluated)

    def looked_at(self, record: RecordedEvaluation) -> str:
        """The data set of an evaluation."""
        return self.evaluated.get(record.view_id, record.dataset)

    def parts(self, record: RecordedEvaluation) -> tuple[str, ...]:
        """Method, data set and backbone of an evaluation; then the network that its clusters are named by, if any."""
        named = record.view.names if isinstance(record.view, View) else record.view.get("names")
        network = () if named is None else (named["name"] if isinstance(named, Mapping) else named.name,)
        return (self.method, self.looked_at(record), self.backbone, *network)


def changes_in_words(
    fit: RecordedFit, evaluations: Sequence[RecordedEvaluation], code: Code, data: Data | None, places: Places
) -> str:
    """One line that names the modules and the data that have changed since a run was done; empty if nothing has."""
    modules = changed_since(fit, evaluations, code, places)
    files = []
    if data is not None:
        seen = [(fit, places.dataset), *((record, places.looked_at(record)) for record in evaluations)]
        files = changed_data(seen, data)
    news = (("code", modules), ("data", files))
    return "; ".join(f"{what} changed since: {few(names)}" for what, names in news if names)


def backbone_of(fit: RecordedFit) -> str:
    """The backbone of a recorded fit: a name, or where the file of a user's own lay."""
    spec = fit.spec
    return spec.backbone.name if isinstance(spec, FitSpec) else str(spec["backbone"]["name"])


def changed_since(
    fit: RecordedFit, evaluations: Iterable[RecordedEvaluation], code: Code, places: Places | None = None
) -> list[str]:
    """The modules whose code has changed since a fit and its evaluations were done, in alphabetical order.

    Records without fingerprints say nothing of their code, so nothing has changed for them.

    Args:
        fit: of a run.
        evaluations: of the same run.
        code: today's.
        places: where the parts of the run lie today; None: where they lay.
    """
    places = places or Places.of(fit)
    names: set[str] = set()
    if fit.code:
        parts = (places.method, places.dataset, places.backbone)
        names = changed_modules(fit.code, code.fit(*parts), parts)
    for record in evaluations:
        if record.code:
            used = places.parts(record)
            names |= changed_modules(record.code, code.evaluation(*used), used)
    return sorted(names)


def changed_modules(recorded: Mapping[str, str], today: Mapping[str, str], parts: Iterable[str] = ()) -> set[str]:
    """The modules whose code differs from what a record was made with, appeared or vanished; as ``comparable``."""
    # Almost all records are of today's code, and there can be thousands.
    return set() if recorded == today else set(changed(comparable(recorded, today, parts), today))


def comparable(recorded: Mapping[str, str], today: Mapping[str, str], parts: Iterable[str] = ()) -> dict[str, str]:
    """A recorded fingerprint in the words of today's, past changes of code that changed no result left out.

    A user's own files that are not where they were are not at hand: nobody knows whether they changed. Earlier releases
    called such a file by its path as the grid had it, not by its path from the folder of the method.

    Args:
        recorded: module -> fingerprint.
        today: likewise.
        parts: the method, the data set and the backbone of today's, by name or path. What one whose file is gone led to
            is in nobody's reach, though others of a user's own are.
    """
    recorded = in_todays_words(recorded, today)
    own = {name for name in recorded if is_own(name)}
    if own and not today:  # the method itself is not at hand, and so nobody knows what it would lead to
        return {}
    short = {name: PurePath(name).name for name in own if name not in today}
    found = {short.get(name, name) if short.get(name) in today else name: hashed for name, hashed in recorded.items()}
    if any(is_own(name) for name in today) and not any(map(_is_gone, parts)):
        return found
    return {name: hashed for name, hashed in found.items() if name in today or not is_own(name)}


def _is_gone(part: str) -> bool:
    """Whether a part is a file of a user's own that is not there."""
    file = part.partition(":")[0]
    return is_own(file) and not Path(file).is_file()


def same_files(recorded: str, today: str) -> bool:
    """Whether two digests are of the same files."""
    return not apart(recorded, today)


def data_states(record: Recorded, data: Data, dataset: str | None = None) -> dict[str, DataState]:
    """What a fit or an evaluation saw, such as ``camvid val labels``, and what has become of it.

    Empty for a record without digests: it says nothing of its data.

    Args:
        record: of a fit or an evaluation.
        data: today's.
        dataset: where its data set lies today; None: where it lay.
    """
    dataset = dataset or record.dataset
    read = {"images": data.images, "labels": data.labels}
    states: dict[str, DataState] = {}
    for what, digest in files_seen(record).items():
        today = read[what](dataset, record.split)
        states[f"{short_name(dataset)} {record.split} {what}"] = _state(digest, today)
    return states


def _state(recorded: str, today: str | None) -> DataState:
    if today is None:
        return "not at hand"
    if not same_files(recorded, today):
        return "changed"
    return "same names and sizes" if tells_contents(today) and not tells_contents(recorded) else "as it was"


def changed_data(records: Iterable[tuple[Recorded, str]], data: Data) -> list[str]:
    """What records, each with its data set of today, saw in other files than there are now: ``camvid val labels``.

    Records without digests say nothing of their data, and of data that is not at hand nobody knows: neither counts.
    """
    states = (data_states(record, data, dataset).items() for record, dataset in records)
    return sorted({what for found in states for what, state in found if state == "changed"})
