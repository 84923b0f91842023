"""The file of text vectors: the names of classes as unit vectors of a model that images and texts share.

It is safetensors, so that anything can write it: ``vectors`` (P, D) float32, of length 1; where there are more of them
than classes ``class_of`` (P,) int64, the class of each; and metadata, all text, of which lists are JSON:

* ``classes``: the K names, in the order of the class set.
* ``prompts``: a list of words a vector: one, or several whose vectors were averaged.
* ``backbone``, ``backbone_weights``: the image network whose features they name, and the digest of its weights.
* ``templates``, ``synonyms``, ``model``, ``weights``: how they were made, told and not needed.

Importing this module imports no torch.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_bench.common.errors import DataError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import few
from spectral_bench.common.words import Words

SUFFIX = ".safetensors"

_LONGEST_ERROR = 1e-3  # of a length of 1: vectors that were kept in half precision pass
_NEEDED = ("classes", "prompts", "backbone", "backbone_weights")


@dataclass(frozen=True)
class TextVectors(Words):
    """Classes as vectors, and how these were made.

    Attributes:
        prompts: P lists of the words that a vector stands for.
        backbone: the image network whose features they name, as grids have it.
        backbone_weights: the digest of its weights.
        templates: that each word was put into; ``{}`` is the word.
        synonyms: ``max`` (a vector a word, the most similar counts) or ``mean`` (one a class).
        model: the text network.
        weights: the digest of its weights.
    """

    prompts: tuple[tuple[str, ...], ...]
    backbone: str
    backbone_weights: str
    templates: tuple[str, ...] = ()
    synonyms: str = ""
    model: str = ""
    weights: str = ""


def write_text(path: Path, text: TextVectors) -> None:
    """Write a file of text vectors, which is checked first.

    Raises:
        DataError: as ``read_text``.
    """
    from safetensors.numpy import save

    _check(text, str(path))
    lists = {"classes": text.classes, "prompts": text.prompts, "templates": text.templates}
    told = {key: json.dumps(value, ensure_ascii=False) for key, value in lists.items()}
    told |= {key: str(getattr(text, key)) for key in ("backbone", "backbone_weights", "synonyms", "model", "weights")}
    write_bytes(path, save({"vectors": text.vectors, "class_of": text.class_of}, metadata=told))


def read_text(path: Path) -> TextVectors:
    """What a file of text vectors holds. Files are read once for as long as size and time stamp stay what they are.

    Raises:
        DataError: there is none, or it is not as such a file has to be; one line says what is wrong.
    """
    if not path.is_file():
        raise DataError(f"text {path}: no such file; bench data text writes one")
    status = path.stat()
    return _read(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _read(path: Path, size: int, mtime_ns: int) -> TextVectors:
    from safetensors import SafetensorError, safe_open

    where = f"text {path}"
    try:
        with safe_open(path, framework="np") as opened:
            told = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError, ValueError, TypeError) as error:  # numpy has no bfloat16
        raise DataError(f"{where}: cannot be read as safetensors ({type(error).__name__}: {error})") from error
    if "vectors" not in tensors:
        raise DataError(f"{where}: holds no tensor called vectors; it has {few(sorted(tensors)) or 'none'}")
    if missing := [key for key in _NEEDED if not told.get(key)]:
        raise DataError(f"{where}: its metadata lack {few(missing)}; docs/data.md says what they hold")
    classes = tuple(_list(told, "classes", where))
    prompts = tuple(tuple(one) if isinstance(one, list) else (one,) for one in _list(told, "prompts", where))
    vectors = tensors["vectors"]
    if vectors.ndim != 2 or vectors.dtype not in (np.float16, np.float32, np.float64) or 0 in vectors.shape:
        raise DataError(
            f"{where}: vectors are {vectors.dtype} {vectors.shape}; expected (vectors, channels) of float32"
        )
    class_of = tensors.get("class_of", np.arange(len(vectors)))
    if class_of.shape != (len(vectors),) or class_of.dtype.kind != "i":
        raise DataError(f"{where}: class_of is {class_of.dtype} {class_of.shape}; expected int64 ({len(vectors)},)")
    text = TextVectors(
        classes,
        vectors.astype(np.float32),
        class_of.astype(np.int64),
        prompts,
        templates=tuple(_list(told, "templates", where)) if told.get("templates") else (),
        **{key: told.get(key, "") for key in ("backbone", "backbone_weights", "synonyms", "model", "weights")},
    )
    _check(text, where)
    return text


def _list(told: dict[str, str], key: str, where: str) -> list[Any]:
    try:
        found = json.loads(told[key])
    except ValueError as error:
        raise DataError(f"{where}: {key} is not JSON ({error}); expected a list") from error
    lists = [one if isinstance(one, list) else [one] for one in found] if isinstance(found, list) else [[None]]
    if not all(isinstance(part, str) for parts in lists for part in parts):
        raise DataError(f"{where}: {key}: expected a JSON list of texts")
    return list(found)


def _check(text: TextVectors, where: str) -> None:
    """Refuse what would name patches wrongly, in one line."""
    k, p = len(text.classes), len(text.vectors)
    if twice := [name for name, count in Counter(text.classes).items() if count > 1]:
        raise DataError(f"{where}: class names that stand twice: {few(twice)}")
    if k < 2:
        raise DataError(f"{where}: {k} class names; expected two or more")
    if not all(name.strip() for name in text.classes):
        raise DataError(f"{where}: a class name is empty")
    if len(text.prompts) != p:
        raise DataError(f"{where}: {len(text.prompts)} prompts for {p} vectors; expected the words of each")
    if empty := [row for row, words in enumerate(text.prompts) if not words or not all(word.strip() for word in words)]:
        raise DataError(f"{where}: vector {empty[0]} has an empty prompt")
    if strange := sorted({int(one) for one in text.class_of if not 0 <= one < k}):
        raise DataError(f"{where}: class_of has {strange[0]}; expected 0 to {k - 1}, places in classes")
    if bare := [name for index, name in enumerate(text.classes) if index not in text.class_of]:
        raise DataError(f"{where}: classes without a vector: {few(bare)}")
    words = [(int(one), prompt) for one, prompt in zip(text.class_of, text.prompts, strict=True)]
    if again := [prompt for (_, prompt), count in Counter(words).items() if count > 1]:
        raise DataError(f"{where}: prompts that one class has twice: {few([', '.join(one) for one in again])}")
    lengths = np.linalg.norm(text.vectors.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _LONGEST_ERROR))  # NaN is wrong too
    if len(wrong):
        row = int(wrong[0])
        which = f"vector {row} ({', '.join(text.prompts[row])})"
        raise DataError(f"{where}: {which} is of length {lengths[row]:.4g}, not normalised to 1")
