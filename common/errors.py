"""Errors that speak to the user: one clear line, no traceback, exit code 2."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend. Its message names the file, key or value and says what was expected."""


class ConfigError(UserError):
    """A grid, a parameter or a command-line value is not valid."""


class DataError(UserError):
    """An image, a label, a list or a data root is missing or not as its data set promises."""


class StoreError(UserError):
    """The store of results cannot be read or written."""


class RunInterrupted(Exception):
    """A run was asked to stop and has saved what it needs to go on later. Not a failure."""


class WorkFailed(Exception):
    """A method or a backbone failed at its work. Its message names it and says where: one line, exit code 1."""
