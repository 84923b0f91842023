"""What is wrong with a document, said with file and line, and all of it at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from spectral_bench.common.documents.document import KeyPath, Place, Places, locate, place_of
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.common.names import unknown


class InvalidDocument(ConfigError):
    """A document is not valid.

    Attributes:
        problems: one line each, ``file:line: key path: what is wrong``.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _position(line: str) -> tuple[str, int]:
    """File and line number that a problem starts with; problems without come first."""
    found = re.match(r"(.*?):(\d+): ", line)
    return (found[1], int(found[2])) if found else ("", 0)


class Problems:
    """Collects what is wrong, in the order in which it is found, as lines that are each kept once.

    Whoever finds a fault names a key path; this is where it becomes a line with file, line number and key path.

    Args:
        places: where the values stand that key paths are of; None: all comes with places of its own, or through ``of``.
    """

    def __init__(self, places: Places | None = None) -> None:
        self._places = places or {}
        self._lines: dict[str, None] = {}
        self._gathered: dict[str, UserError] = {}

    def of(self, places: Places) -> Problems:
        """The same collection, for key paths of other values."""
        other = Problems(places)
        other._lines, other._gathered = self._lines, self._gathered
        return other

    def add(self, path: str | KeyPath, message: str) -> None:
        """Note what is wrong at a key path (a key alone stands for itself); where nothing stands, at what is above."""
        self.add_at(place_of((path,) if isinstance(path, str) else path, self._places), message)

    def add_at(self, place: Place, message: str) -> None:
        """Note what is wrong at a place."""
        self.add_line(f"{place.where}: {place.path}: {message}" if place.path else f"{place.where}: {message}")

    def add_line(self, line: str) -> None:
        """Note a problem that is already a whole line."""
        self._lines.setdefault(line.replace("\n", " "))

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._lines or self._gathered)

    def __len__(self) -> int:
        """How much is wrong."""
        return len(self._lines) + len(self._gathered)

    def __iter__(self) -> Iterator[str]:
        """The lines."""
        return iter((*self._lines, *self._gathered))

    def lines(self) -> tuple[str, ...]:
        """All lines, in the order of the file, and then what stands in no file."""
        return (*sorted(self._lines, key=_position), *(line for text in self._gathered for line in text.splitlines()))

    def check(self) -> None:
        """Raise ``InvalidDocument`` with all lines if there are any; a gathered error that is alone, as it was."""
        if not self._lines and len(self._gathered) == 1:
            raise next(iter(self._gathered.values()))
        if self:
            raise InvalidDocument(self.lines())

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Note a ``UserError`` raised in the block as it reads, and go on after the block."""
        try:
            yield
        except InvalidDocument as error:
            for line in error.problems:
                if _position(line)[0]:
                    self.add_line(line)
                else:  # of no file that has lines, such as an image
                    self._gathered.setdefault(line, InvalidDocument((line,)))
        except UserError as error:
            self._gathered.setdefault(str(error), error)

    @contextmanager
    def at(self, path: str | KeyPath) -> Iterator[None]:
        """Turn a ``UserError`` raised in the block into a problem at a key path, and go on after the block."""
        try:
            yield
        except InvalidDocument as error:
            for line in error.problems:
                self.add_line(line)
        except UserError as error:
            self.add(path, str(error))


Model = TypeVar("Model", bound=BaseModel)


def validate(
    model: type[Model], value: Any, problems: Problems, hints: Mapping[str, str] | None = None
) -> Model | None:
    """Plain values as an instance of ``model``, or None after noting every problem.

    Types are strict: a text is not taken for a number, nor a number for a text.

    Args:
        model: what the values should be.
        value: of a document, from its top.
        problems: where to note, by key paths of the same document.
        hints: for keys that are unknown here, where they belong.
    """
    if not isinstance(value, dict):
        problems.add((), f"expected a mapping (key: value), got {describe(value)}")
        return None
    try:
        # By way of JSON, as strict validation of Python values would refuse lists where tuples are declared.
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        for details in _leading(error.errors(include_url=False)):
            _note(model, value, details, problems, hints or {})
        return None


def _leading(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without the complaint that a list is too short because its bad elements do not count."""
    inner = [error["loc"][:-1] for error in errors]
    return [error for error in errors if error["type"] != "too_short" or error["loc"] not in inner]


def _note(
    model: type[BaseModel], value: Any, details: ErrorDetails, problems: Problems, hints: Mapping[str, str]
) -> None:
    location = details["loc"]
    path, culprit = locate(value, location)
    key = str(location[-1]) if location else ""
    if details["type"] == "missing":
        problems.add(path, f'the key "{key}" is missing')
    elif details["type"] == "extra_forbidden":
        valid = _fields(model, location[:-1])
        problems.add(path, hints.get(key) or unknown("key", key, valid))
    else:
        problems.add(path, _message(details, culprit))


_EXPECTED = {
    "string_type": "a text",
    "string_pattern_mismatch": "letters, digits, dots, dashes and underscores",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "path_type": "a path",
    "model_type": "a mapping",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "too_short": "at least one value",
}


def _message(details: ErrorDetails, value: Any) -> str:
    kind = details["type"]
    if kind == "literal_error" and isinstance(value, str):
        valid = [part.strip(" '") for part in details["ctx"]["expected"].replace(" or ", ",").split(",")]
        return unknown("value", value, valid)
    if kind == "value_error":
        return str(details["ctx"]["error"])
    expected = _EXPECTED.get(kind) or details["msg"].removeprefix("Input should be ")
    return f"expected {expected}, got {describe(value)}"


def describe(value: Any) -> str:
    """A short text for a value in an error message."""
    kinds = {type(None): "nothing", dict: "a mapping", list: "a list" if value else "an empty list"}
    if type(value) in kinds:
        return kinds[type(value)]
    if isinstance(value, str):
        return f'the text "{value[:60]}"'
    return json.dumps(value)


def _fields(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The field names of the model that ``location`` leads to, below ``model``."""
    current: Any = model
    for key in location:
        field = None if isinstance(key, int) else current.model_fields.get(key)
        if field is not None:
            current = _model_in(field.annotation) or current
    return list(current.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
