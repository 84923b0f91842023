"""What the control groups around this process leave to it: memory and processors (Linux, versions 1 and 2).

A container or a batch job sees the memory and the processors of the whole machine, and is killed or slowed down by the
limits of its control groups. These are files, in a tree that ``/proc/self/mountinfo`` and ``/proc/self/cgroup`` name.
See cgroups(7) and the kernel's documentation (admin-guide/cgroup-v1, admin-guide/cgroup-v2).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")
_UNLIMITED = 2**60  # version 1 writes the largest multiple of a page below 2^63 where there is no limit


@dataclass(frozen=True)
class _Mount:
    """A mounted hierarchy: its version, its controllers (of version 1), which group is at the top, and where."""

    version: int
    controllers: frozenset[str]
    top: str
    point: str


def memory_rooms(root: Path = ROOT) -> Iterator[int]:
    """Bytes that the limit of each group around this process leaves, innermost first; groups without one tell nothing.

    File cache that can be dropped does not count as used.

    Args:
        root: of the file system; another one in tests.
    """
    for version, folder in _groups("memory", root):
        if version == 2:
            limits = [_number(folder / "memory.max"), _number(folder / "memory.high")]
            used, droppable = _number(folder / "memory.current"), "inactive_file"
        else:
            limits = [_number(folder / "memory.limit_in_bytes")]
            used, droppable = _number(folder / "memory.usage_in_bytes"), "total_inactive_file"
        known = [limit for limit in limits if limit is not None and limit < _UNLIMITED]
        if known and used is not None:
            yield max(0, min(known) - used + _statistic(folder / "memory.stat", droppable))


def processors(root: Path = ROOT) -> int | None:
    """How many processors the groups around this process let it use; None where they set no limit.

    A quota of processor time that is no whole number is rounded up, so that all of it can be used.

    Args:
        root: of the file system; another one in tests.
    """
    quotas = [quota for version, folder in _groups("cpu", root) if (quota := _quota(version, folder)) is not None]
    found = [max(1, math.ceil(quota - 1e-9)) for quota in quotas] + list(_sets(root))
    return min(found) if found else None


def _quota(version: int, folder: Path) -> float | None:
    """Processors' worth of time that a group may use; None without a limit."""
    if version == 2:
        quota, period = ([*_text(folder / "cpu.max").split(), "", ""])[:2]
        pair = (_parsed(quota), _parsed(period))
    else:
        pair = (_number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us"))
    return pair[0] / pair[1] if pair[0] is not None and pair[0] > 0 and pair[1] else None


def _sets(root: Path) -> Iterator[int]:
    """The number of processors in the set of each group that names some."""
    for version, folder in _groups("cpuset", root):
        names = ("cpuset.cpus.effective",) if version == 2 else ("cpuset.effective_cpus", "cpuset.cpus")
        text = next((text for name in names if (text := _text(folder / name))), "")
        ranges = re.findall(r"(\d+)(?:-(\d+))?", text)
        if ranges:
            yield sum(int(last or first) - int(first) + 1 for first, last in ranges)


def _groups(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    """Version and folder of the groups that this process is in by a controller, innermost first.

    In a container the top of the mounted tree is often the container's own group, while ``/proc/self/cgroup`` tells the
    path that the host knows: what the mount does not hold is looked for at its top.
    """
    own = _own_groups(root)
    for mount in _mounts(root):
        path = own.get("" if mount.version == 2 else controller)
        if path is None or (mount.version == 1 and controller not in mount.controllers):
            continue
        top = root / mount.point.lstrip("/")
        inside = PurePosixPath(path)
        below = inside.relative_to(mount.top).parts if inside.is_relative_to(mount.top) and ".." not in path else ()
        folder = top.joinpath(*below)
        if not folder.is_dir():
            folder, below = top, ()
        yield from ((mount.version, place) for place in [folder, *folder.parents][: len(below) + 1])


def _own_groups(root: Path) -> dict[str, str]:
    """Controller -> path of this process's group; that of version 2 under an empty name."""
    fields = (line.split(":", 2) for line in _text(root / "proc/self/cgroup").splitlines())
    return {name: field[2] for field in fields if len(field) == 3 for name in field[1].split(",")}


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in _text(root / "proc/self/mountinfo").splitlines():
        mount, _, system = line.partition(" - ")
        fields, kind = mount.split(), system.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        controllers = frozenset(kind[2].split(",")) if kind[0] == "cgroup" else frozenset[str]()
        yield _Mount(1 if kind[0] == "cgroup" else 2, controllers, _unescaped(fields[3]), _unescaped(fields[4]))


def _unescaped(path: str) -> str:
    """A path of mountinfo, in which blanks and the like are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _statistic(path: Path, name: str) -> int:
    lines = (line.split() for line in _text(path).splitlines())
    return next((int(line[1]) for line in lines if line[0] == name and len(line) == 2 and line[1].isdecimal()), 0)


def _number(path: Path) -> int | None:
    return _parsed(_text(path))


def _parsed(text: str) -> int | None:
    """A number; None for ``max``, nothing and anything else."""
    try:
        return int(text)
    except ValueError:
        return None


def _text(path: Path) -> str:
    """What is in a file; nothing where it is missing, as in groups without that controller, or outside of Linux."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
