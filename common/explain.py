"""What is wrong with values that a pydantic model refused, in words."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from spectral_bench.common.names import unknown


def explain(noun: str, owner: str, model: type[BaseModel], problem: ErrorDetails) -> str:
    """One problem in words: key, value, what was expected, and the nearest valid name where one is unknown.

    Args:
        noun: what a key is: "parameter", "option".
        owner: whose they are.
        model: that refused them.
        problem: what pydantic found.
    """
    key = ".".join(str(part) for part in problem["loc"])
    expected = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return unknown(f"{noun} of {owner}", key, model.model_fields)
    field = model.model_fields.get(key)
    if problem["type"] == "missing":  # what pydantic calls its input then is all that was given
        meant = f", {field.description}" if field is not None and field.description else ""
        return f"{owner}: {key}: required{meant}"
    if field is None:
        return f"{owner}: {expected}"
    if problem["type"] == "literal_error":
        return unknown(
            f"{key} of {owner}", str(problem["input"]), [str(choice) for choice in get_args(field.annotation)]
        )
    meant = f" ({key}: {field.description})" if field.description else ""
    return f"{owner}: {key} = {problem['input']!r}: {expected[0].lower()}{expected[1:]}{meant}"
