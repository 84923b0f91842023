"""Code that moved or was rewritten, and computes the same: records of the old code stay current.

A record holds a hash of each module that it depends on. A release that only moves, renames or speeds up code changes
these hashes and no result. ``equivalent.json`` therefore holds steps, oldest first, each with the hashes of all modules
before and after, and where each module went. It is a promise: who adds a step has shown that results have the same
bits. ``python -m spectral_bench.bench.code.equivalent CHECKOUT --moved OLD=NEW ...`` adds the step from the code of
another checkout to that of this one.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.bench.code.fingerprint import is_own_file, module_hashes
from spectral_bench.common.files import write_bytes
from spectral_bench.common.loaded import ROOT

FILE = Path(__file__).with_name("equivalent.json")


@dataclass(frozen=True)
class Step:
    """One change of code that changed no result.

    Attributes:
        before: module -> hash, of all modules that a record can name.
        after: likewise; modules that did not change are among them.
        moved: module -> the modules that hold its code afterwards, where these are not itself alone.
    """

    before: Mapping[str, str]
    after: Mapping[str, str]
    moved: Mapping[str, tuple[str, ...]]


@functools.cache
def steps() -> tuple[Step, ...]:
    """All steps, oldest first."""
    return tuple(
        Step(one["before"], one["after"], {name: tuple(homes) for name, homes in one["moved"].items()})
        for one in json.loads(FILE.read_text(encoding="utf-8"))
    )


def in_todays_words(
    recorded: Mapping[str, str], today: Collection[str], known: tuple[Step, ...] | None = None
) -> dict[str, str]:
    """A recorded fingerprint as today's code would give it, had nothing but the known steps happened since.

    A module whose hash is that of a step's start has that of its end; one with another hash keeps it, under the name
    that it has today, so that it is seen to differ. Modules that today's code depends on besides, because files were
    joined, count as they were at the end of the step.

    Args:
        recorded: module -> hash; files of a user's own are passed through.
        today: the modules that today's code depends on; none where a part of the run is not here.
        known: the steps; None: those that are kept with this code.
    """
    if not today:  # a part of the run is not here, so all that the record names has gone
        return dict(recorded)
    own = {name: hashed for name, hashed in recorded.items() if is_own_file(name)}
    found = {name: hashed for name, hashed in recorded.items() if name not in own}
    edited = set(found)
    for step in steps() if known is None else known:
        # By what the step changed: any record holds modules that it left alone.
        if any(hashed == step.before.get(name) != step.after.get(name) for name, hashed in found.items()):
            found, edited = _after(step, found)
    return {name: hashed for name, hashed in found.items() if name in edited or name in today} | own


def _after(step: Step, found: Mapping[str, str]) -> tuple[dict[str, str], set[str]]:
    """All modules as they were at the end of a step, and those of ``found`` that the step does not explain."""
    other = {name: hashed for name, hashed in found.items() if step.before.get(name) != hashed}
    # What went nowhere in the step's version keeps its name in any other: a record that has it does differ.
    homes = {home: hashed for name, hashed in other.items() for home in step.moved.get(name) or (name,)}
    return {**step.after, **homes}, {name for name, hashed in homes.items() if step.after.get(name) != hashed}


def new_step(before: Path, after: Path, moved: Mapping[str, tuple[str, ...]]) -> Step:
    """The step from the code of one checkout to that of another.

    Raises:
        ValueError: a module is gone and ``moved`` does not say where to, or says so of one that never was, or names a
            module that is not there.
    """
    old, new = module_hashes(before), module_hashes(after)
    lost = sorted(set(old) - set(new) - set(moved))
    wrong = sorted((set(moved) - set(old)) | ({home for homes in moved.values() for home in homes} - set(new)))
    if lost:
        raise ValueError(f"no longer there, and not said to have moved: {', '.join(lost)}")
    if wrong:
        raise ValueError(f"said to have moved, and not there: {', '.join(wrong)}")
    return Step(old, new, moved)


def main(arguments: list[str] | None = None) -> None:
    """Add a step to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a folder with the code as it was")
    parser.add_argument(
        "--moved",
        nargs="*",
        default=[],
        metavar="OLD=NEW[,NEW]",
        help="short names, as bench.run.fit; OLD= where no record can name it",
    )
    asked = parser.parse_args(arguments)
    moved = {old: tuple(filter(None, new.split(","))) for old, _, new in (one.partition("=") for one in asked.moved)}
    step = new_step(asked.checkout, ROOT, moved)
    listed = [
        *json.loads(FILE.read_text(encoding="utf-8")),
        {"before": step.before, "after": step.after, "moved": moved},
    ]
    write_bytes(FILE, (json.dumps(listed, indent=1, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    main()
