"""Parameters of every method that ships, with default, range and unit. Importing this file imports no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """Base of the parameters of a method: every default, range and unit stated, unknown names refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
