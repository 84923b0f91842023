"""Neutral words for what records tell of people and machines: ``host-1`` for a host, ``/folder-1`` for a folder.

Replaced are names of hosts, of clusters and their partitions, and the folder of every absolute path, in specifications,
failures, warnings, fingerprints and grids. The same name has the same word everywhere, so that what belonged together
still does. Ids stay: identities rest on contents and not on places, but for runs of early releases, whose folders are
therefore left as they are (``Neutral.fixed``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from spectral_bench.results.specification import FitSpec, View

HOST, CLUSTER, PARTITION, FOLDER = "host", "cluster", "partition", "folder"
_SLURM = {"nodes": HOST, "cluster": CLUSTER, "partition": PARTITION}
_SITTING = re.compile(r"(.+), process \d+ of ")  # as launches name themselves: bench.work.order
_PLACES = frozenset({"dataset", "train_dataset", "method", "name", "root", "weights", "text", "backbone"})
"""Keys whose values may be a path and nothing else, blanks included; what stands before a colon is no part of it."""
_WHOLE = re.compile(r"(?:\w+:)?(/[^\n]+)/[^/\n]*")
_PATH = re.compile(r"(?<![\w./])((?:/[^/\s:'\"<>|(),;`\[\]{}]+)+)(?=/[^/\s])")
_TOLD = ("failure", "warnings")  # of a record: texts in which hosts may occur
_NEUTRAL = re.compile(rf"/?(?:{HOST}|{CLUSTER}|{PARTITION}|{FOLDER})-\d+")


class Neutral:
    """Names and the words that stand for them; nothing is replaced before ``learn``.

    Attributes:
        fixed: folders that are part of an id, and stay.
    """

    def __init__(self) -> None:
        self._words: dict[str, dict[str, str]] = {kind: {} for kind in (HOST, CLUSTER, PARTITION, FOLDER)}
        self.fixed: tuple[str, ...] = ()

    def learn(self, documents: Iterable[Any], texts: Iterable[str] = ()) -> None:
        """Look for names in JSON values of records and manifests, and in texts, before anything is replaced."""
        documents = list(documents)
        found: dict[str, set[str]] = {kind: set() for kind in self._words}
        for document in documents:
            found[FOLDER].update(folder for key, text in _strings(document) for folder in _folders(key, text))
            for kind, name in _machines(document):
                found[kind].add(name)
        found[FOLDER].update(folder for text in texts for folder in _folders("", text))
        for kind, names in found.items():
            chosen = sorted(name for name in names if not _NEUTRAL.fullmatch(name))
            before = "/" if kind == FOLDER else ""
            taken = {name for name in names if _NEUTRAL.fullmatch(name)}  # of a capsule that is packed again
            free = (word for number in range(1, 10**9) if (word := f"{before}{kind}-{number}") not in taken)
            self._words[kind] = dict(zip(chosen, free, strict=False))
        self._keep_ids(documents)

    def _keep_ids(self, documents: Iterable[Any]) -> None:
        """Leave folders alone on which an id rests."""
        fixed: set[str] = set()
        for part, identity in (found for document in documents for found in _identified(document)):
            if identity(part) != identity(self._replaced(part)):
                fixed |= {folder for key, text in _strings(part) for folder in _folders(key, text)}
        self._words[FOLDER] = {name: word for name, word in self._words[FOLDER].items() if name not in fixed}
        self.fixed = tuple(sorted(fixed))

    @property
    def counts(self) -> dict[str, int]:
        """Kind of name -> how many were found, those without any left out."""
        return {kind: len(words) for kind, words in self._words.items() if words}

    def document(self, document: Any) -> Any:
        """A JSON value of a record or manifest with neutral words."""
        found = self._replaced(document)
        if not isinstance(found, dict):
            return found
        environment, execution = found.get("environment"), found.get("execution")
        if isinstance(environment, dict):
            self._rename(environment, "host", HOST)
            if isinstance(slurm := environment.get("slurm"), dict):
                for key, kind in _SLURM.items():
                    self._rename(slurm, key, kind)
        if isinstance(execution, dict) and (sitting := _SITTING.match(str(execution.get("sitting")))):
            host, rest = sitting[1], execution["sitting"][len(sitting[1]) :]
            execution["sitting"] = self._words[HOST].get(host, host) + rest
        for key in _TOLD:
            if key in found:
                found[key] = _mapped(found[key], lambda _, text: self._without_hosts(text))
        return found

    def text(self, text: str, key: str = "") -> str:
        """A text with neutral words for folders."""
        words = self._words[FOLDER]
        for folder in sorted(_folders(key, text), key=len, reverse=True):
            if folder in words:
                text = re.sub(rf"(?<![\w./]){re.escape(folder)}(?=/)", words[folder], text)
        return text

    def _replaced(self, value: Any) -> Any:
        return _mapped(value, lambda key, text: self.text(text, key))

    def _rename(self, part: dict[str, Any], key: str, kind: str) -> None:
        if isinstance(part.get(key), str):
            part[key] = self._words[kind].get(part[key], part[key])

    def _without_hosts(self, text: str) -> str:
        for host, word in self._words[HOST].items():
            text = re.sub(rf"(?<![\w-]){re.escape(host)}(?![\w-])", word, text)
        return text


def _folders(key: str, text: str) -> Iterator[str]:
    """The folders of the absolute paths in a text; of a value that is a path and nothing else, its own."""
    whole = _WHOLE.fullmatch(text) if key in _PLACES else None
    if whole:
        yield whole[1]
    elif "/" in text:
        yield from (match[1] for match in _PATH.finditer(text))


def _machines(document: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of the machines that a record tells of."""
    if not isinstance(document, dict):
        return
    environment, execution = document.get("environment") or {}, document.get("execution") or {}
    if isinstance(host := environment.get("host"), str) and host:
        yield HOST, host
    slurm = environment.get("slurm") or {}
    yield from ((kind, slurm[key]) for key, kind in _SLURM.items() if isinstance(slurm.get(key), str) and slurm[key])
    if sitting := _SITTING.match(str(execution.get("sitting"))):
        yield HOST, sitting[1]


def _identified(document: Any) -> Iterator[tuple[Any, Callable[[Any], str]]]:
    """The parts of a document that an id is the hash of, each with what gives that id."""
    if not isinstance(document, dict):
        return
    if "spec" in document:
        yield document["spec"], lambda spec: FitSpec.model_validate(spec).run_id
    if "view" in document:
        yield document["view"], _view_id
    for row in document.get("rows", []):
        for protocol in row["protocols"]:
            views = (protocol["view"], protocol.get("fit_view"), protocol.get("name_view"))
            yield from ((view, _view_id) for view in views if view is not None)


def _view_id(view: Any) -> str:
    return View.model_validate(view).view_id


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value with the key that it stands under; keys stand under none."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part, key)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield "", name
            yield from _strings(part, name)


def _mapped(value: Any, change: Callable[[str, str], str], key: str = "") -> Any:
    """A copy of a JSON value in which every text, keys included, is changed; ``change`` gets key and text."""
    if isinstance(value, str):
        return change(key, value)
    if isinstance(value, list):
        return [_mapped(part, change, key) for part in value]
    if isinstance(value, dict):
        changed = {change("", name): _mapped(part, change, name) for name, part in value.items()}
        if len(changed) < len(value):  # injective words leave no two keys alike
            raise ValueError(f"two keys became one: {json.dumps(sorted(value))}")
        return changed
    return value
