from __future__ import annotations

import os
from pathlib import Path

import pytest

from rerank import cgroups
from rerank.cgroups import cores, memory_left


@pytest.fixture
def memberships(tmp_path: Path) -> Path:
    return tmp_path / "memberships"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def write(folder: Path, **files: str) -> None:
    """Files of a group; of ``memory_max`` the name is ``memory.max``, of ``cpu_cfs_quota_us`` ``cpu.cfs_quota_us``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


class TestMemory:
    @pytest.mark.parametrize("folder", ["", "system.slice/rerank.service"])
    def test_version_2_leaves_limit_less_use_but_for_idle_files(
        self, root: Path, memberships: Path, folder: str
    ) -> None:
        memberships.write_text("0::/system.slice/rerank.service\n")
        stat = "anon 500\ninactive_file 150\nfile 200"
        write(root / folder, memory_max="1000", memory_current="700", memory_stat=stat)
        assert memory_left(root, memberships) == 450

    def test_version_2_without_a_limit_leaves_everything(self, root: Path, memberships: Path) -> None:
        memberships.write_text("0::/\n")
        write(root, memory_max="max", memory_current="700", memory_stat="inactive_file 0")
        assert memory_left(root, memberships) is None

    def test_version_1_is_the_same_under_other_names(self, root: Path, memberships: Path) -> None:
        memberships.write_text("5:cpu,cpuacct:/a\n4:memory:/docker/abc\n0::/\n")
        write(
            root / "memory",
            memory_limit_in_bytes="1000",
            memory_usage_in_bytes="900",
            memory_stat="inactive_file 1\ntotal_inactive_file 300",
        )
        assert memory_left(root, memberships) == 400

    def test_of_nested_groups_the_tightest_limit_counts(self, root: Path, memberships: Path) -> None:
        memberships.write_text("0::/pod/container\n")
        write(root / "pod", memory_max="1000", memory_current="900", memory_stat="inactive_file 0")
        write(root / "pod/container", memory_max="5000", memory_current="100", memory_stat="inactive_file 0")
        assert memory_left(root, memberships) == 100

    def test_a_full_group_leaves_nothing(self, root: Path, memberships: Path) -> None:
        memberships.write_text("0::/\n")
        write(root, memory_max="1000", memory_current="1100", memory_stat="inactive_file 0")
        assert memory_left(root, memberships) == 0

    def test_a_machine_without_groups_has_no_limit(self, root: Path, memberships: Path) -> None:
        assert memory_left(root, memberships) is None
        memberships.write_text("0::/\n")
        assert memory_left(root, memberships.rename(memberships.with_name("moved"))) is None

    def test_counters_that_cannot_be_read_set_no_limit(self, root: Path, memberships: Path) -> None:
        memberships.write_text("0::/\n")
        write(root, memory_max="1000", memory_current="what?", memory_stat="")
        assert memory_left(root, memberships) is None


class TestCores:
    @pytest.fixture(autouse=True)
    def four_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cgroups, "host_cores", lambda: 4)

    @pytest.mark.parametrize(
        ("quota", "expected"),
        [
            ("100000 100000", 1),
            ("150000 100000", 2),
            ("20000 100000", 1),
            ("800000 100000", 4),
            ("max 100000", 4),
            ("100000 0", 4),
            ("nonsense", 4),
        ],
    )
    def test_of_version_2_are_the_quota_rounded_up(
        self, root: Path, memberships: Path, quota: str, expected: int
    ) -> None:
        memberships.write_text("0::/container\n")
        write(root / "container", cpu_max=quota)
        assert cores(root, memberships) == expected

    @pytest.mark.parametrize(("quota", "expected"), [("100000", 1), ("250000", 3), ("-1", 4)])
    @pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
    def test_of_version_1_are_the_quota_rounded_up(
        self, root: Path, memberships: Path, mount: str, quota: str, expected: int
    ) -> None:
        memberships.write_text("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n")
        write(root / mount / "docker/abc", cpu_cfs_quota_us=quota, cpu_cfs_period_us="100000")
        assert cores(root, memberships) == expected

    def test_of_nested_groups_are_the_smallest_quota(self, root: Path, memberships: Path) -> None:
        memberships.write_text("0::/pod/container\n")
        write(root / "pod", cpu_max="200000 100000")
        write(root / "pod/container", cpu_max="max 100000")
        assert cores(root, memberships) == 2

    def test_without_groups_are_those_the_process_may_run_on(self, root: Path, memberships: Path) -> None:
        assert cores(root, memberships) == 4


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_cores_are_no_more_than_the_affinity_allows(root: Path, memberships: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores(root, memberships) == 1
    finally:
        os.sched_setaffinity(0, before)
