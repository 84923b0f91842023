"""Limits of control groups, read from trees of files as kernels write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from spectral_bench.common.cgroups import memory_rooms, processors

UNLIMITED = "9223372036854771712"
V2 = "29 23 0:26 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "{n} 31 0:{n} {top} /sys/fs/cgroup/{name} rw,relatime shared:9 - cgroup cgroup rw,{controllers}"
PLAIN = "30 23 0:27 / /tmp rw - tmpfs tmpfs rw"


class Tree:
    """A file system with groups in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def process(self, own: str, *mounts: str) -> None:
        self.write("proc/self/cgroup", own)
        self.write("proc/self/mountinfo", "\n".join([PLAIN, *mounts]) + "\n")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def group(self, folder: str, **files: str) -> None:
        for name, text in files.items():
            self.write(f"sys/fs/cgroup/{folder}/{name.replace('__', '.')}", f"{text}\n")

    @property
    def rooms(self) -> list[int]:
        return list(memory_rooms(self.root))

    @property
    def processors(self) -> int | None:
        return processors(self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def v2_memory(limit: str, used: int, inactive: int = 0, high: str = "max") -> dict[str, str]:
    stat = f"anon 5\ninactive_file {inactive}\nactive_file 77"
    return {"memory__max": limit, "memory__high": high, "memory__current": str(used), "memory__stat": stat}


def v1_memory(limit: str, used: int, inactive: int = 0) -> dict[str, str]:
    stat = f"inactive_file 1\nhierarchical_memory_limit 5\ntotal_inactive_file {inactive}"
    return {"memory__limit_in_bytes": limit, "memory__usage_in_bytes": str(used), "memory__stat": stat}


class TestMemory:
    def test_every_group_of_version_2_around_the_process_limits_it(self, tree: Tree) -> None:
        tree.process("0::/slurm/job_7/step_0\n", V2.format(top="/"))
        tree.group("slurm/job_7/step_0", **v2_memory("max", 10))
        tree.group("slurm/job_7", **v2_memory("1000", 400, inactive=100))
        tree.group("slurm", **v2_memory("max", 400, high="5000"))
        assert tree.rooms == [700, 4600]

    def test_every_group_of_version_1_around_the_process_limits_it(self, tree: Tree) -> None:
        tree.process(
            "9:name=systemd:/\n4:memory:/slurm/uid_5/job_7\n0::/\n",
            V1.format(n=35, top="/", name="memory", controllers="memory"),
            V1.format(n=36, top="/", name="systemd", controllers="name=systemd"),
        )
        tree.group("memory/slurm/uid_5/job_7", **v1_memory("2000", 1700, inactive=300))
        tree.group("memory/slurm/uid_5", **v1_memory(UNLIMITED, 1700))
        tree.group("memory/slurm", **v1_memory("9000", 4000))
        tree.group("memory", **v1_memory(UNLIMITED, 99999))
        assert tree.rooms == [600, 5000]

    @pytest.mark.parametrize("top", ["/docker/4f2a", "/"])
    def test_a_container_of_version_1_sees_its_own_group_at_the_top(self, tree: Tree, top: str) -> None:
        """With the host's path in /proc/self/cgroup, whether or not the mount says that its top is that group."""
        tree.process("4:memory:/docker/4f2a\n", V1.format(n=35, top=top, name="memory", controllers="memory"))
        tree.group("memory", **v1_memory("2000", 500))
        assert tree.rooms == [1500]

    def test_a_container_with_a_name_space_of_its_own_is_at_the_top(self, tree: Tree) -> None:
        tree.process("0::/\n", V2.format(top="/"))
        tree.group(".", **v2_memory("2000", 500))
        assert tree.rooms == [1500]

    def test_a_group_outside_of_the_name_space_is_looked_for_at_the_top(self, tree: Tree) -> None:
        tree.process("0::/../other\n", V2.format(top="/../other"))
        tree.group(".", **v2_memory("2000", 500))
        assert tree.rooms == [1500]

    def test_both_versions_side_by_side(self, tree: Tree) -> None:
        unified = V2.format(top="/").replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
        tree.process("4:memory:/a\n0::/a\n", V1.format(n=35, top="/", name="memory", controllers="memory"), unified)
        tree.group("memory/a", **v1_memory("3000", 1000))
        tree.group("unified/a", cgroup__procs="1")  # version 2 without the memory controller
        assert tree.rooms == [2000]

    def test_a_full_group_has_no_room(self, tree: Tree) -> None:
        tree.process("0::/a\n", V2.format(top="/"))
        tree.group("a", **v2_memory("1000", 1200))
        assert tree.rooms == [0]

    def test_without_groups_there_is_no_limit(self, tree: Tree) -> None:
        assert (tree.rooms, tree.processors) == ([], None)  # no /proc: not Linux
        tree.process("0::/a\n", V2.format(top="/"))
        assert (tree.rooms, tree.processors) == ([], None)


class TestProcessors:
    @pytest.mark.parametrize(
        ("limit", "expected"),
        [("max 100000", None), ("200000 100000", 2), ("150000 100000", 2), ("20000 100000", 1), ("400000 50000", 8)],
    )
    def test_quota_of_version_2(self, tree: Tree, limit: str, expected: int | None) -> None:
        tree.process("0::/pod/box\n", V2.format(top="/"))
        tree.group("pod/box", cpu__max=limit)
        tree.group("pod", cpu__max="900000 100000")
        assert tree.processors == (9 if expected is None else expected)

    @pytest.mark.parametrize(("quota", "expected"), [("-1", None), ("300000", 3), ("250000", 3), ("50000", 1)])
    def test_quota_of_version_1_with_shared_controllers(self, tree: Tree, quota: str, expected: int | None) -> None:
        mount = V1.format(n=33, top="/", name="cpu,cpuacct", controllers="cpu,cpuacct")
        tree.process("3:cpu,cpuacct:/box\n", mount)
        tree.group("cpu,cpuacct/box", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
        tree.group("cpu,cpuacct", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
        assert tree.processors == expected

    def test_a_set_of_processors(self, tree: Tree) -> None:
        tree.process("0::/box\n", V2.format(top="/"))
        tree.group("box", cpuset__cpus__effective="0-3,8,10-11", cpu__max="900000 100000")
        assert tree.processors == 7

    def test_a_set_of_processors_of_version_1(self, tree: Tree) -> None:
        tree.process("5:cpuset:/box\n", V1.format(n=34, top="/", name="cpuset", controllers="cpuset"))
        tree.group("cpuset/box", cpuset__cpus="2-3")
        tree.group("cpuset", cpuset__cpus="0-63")
        assert tree.processors == 2

    def test_a_mount_point_with_a_blank(self, tree: Tree) -> None:
        tree.process("0::/\n", V2.format(top="/").replace("/sys/fs/cgroup ", "/sys/fs/cgroup/my\\040box "))
        tree.group("my box", cpu__max="100000 100000")
        assert tree.processors == 1
