"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no failure, and the same code passes or fails every time; "explore" draws new examples.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeatable")
