"""How many cores a worker may use, and which."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from daskbatch.worker import cores
from daskbatch.worker.cores import bound_cpus, job_cores, quota_cores, usable_cores

Host = Callable[[int, set[int], float | None], None]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """Make this a host of so many CPUs, of which the process may use some, and so much time of them."""

    def made(count: int, affinity: set[int], quota: float | None) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: count)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _process: affinity, raising=False)
        monkeypatch.setattr(cores, "quota_cores", lambda: quota)

    return made


SLURM = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "6", "SLURM_NTASKS": "1"}


@pytest.mark.parametrize(
    ("affinity", "quota", "environment", "usable"),
    [
        (range(16), None, {}, 16),
        (range(3), None, {}, 3),
        (range(16), 2.5, {}, 2),
        (range(16), 0.5, {}, 1),
        (range(16), 64.0, {}, 16),
        # A queue that holds its jobs to nothing
        (range(16), None, SLURM, 4),
        (range(16), None, SLURM | {"SLURM_CPUS_PER_TASK": "99"}, 16),
        # and one that does
        (range(8), None, SLURM, 8),
    ],
)
def test_the_least_of_what_is_told_counts(
    affinity: range, quota: float | None, environment: dict[str, str], usable: int, host: Host
) -> None:
    host(16, set(affinity), quota)
    assert usable_cores(environment) == usable


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, None),
        ({"NSLOTS": "4"}, None),  # no job
        ({"JOB_ID": "1", "NSLOTS": "4"}, 4),
        ({"PBS_JOBID": "1", "NCPUS": "4"}, 4),
        ({"LSB_JOBID": "1", "LSB_DJOB_NUMPROC": "4"}, 4),
        (SLURM, 4),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "6"}, 6),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "no number"}, None),
        # The script of a job of three tasks, and one of the tasks
        (SLURM | {"SLURM_NTASKS": "3"}, 6),
        (SLURM | {"SLURM_NTASKS": "3", "SLURM_STEP_ID": "0"}, 4),
    ],
)
def test_a_batch_job_tells(environment: dict[str, str], told: int | None) -> None:
    assert job_cores(environment) == told


def test_cpus_are_bound_where_some_of_the_hosts_are_missing(host: Host) -> None:
    host(4, {0, 1, 2, 3}, None)
    assert bound_cpus() == ()
    host(4, {3, 1}, None)
    assert bound_cpus() == (1, 3)


def group(root: Path, told: str, files: dict[str, str]) -> None:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(told)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_least_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    group(
        tmp_path,
        "0::/slurm/job_7/step_0\n",
        {
            "slurm/job_7/step_0/cpu.max": "max 100000\n",
            "slurm/job_7/cpu.max": "250000 100000\n",
            "slurm/cpu.max": "800000 100000\n",
        },
    )
    assert quota_cores(tmp_path) == 2.5


def test_quotas_of_the_first_version_of_control_groups(tmp_path: Path) -> None:
    group(
        tmp_path,
        "9:memory:/a\n4:cpu,cpuacct:/docker/b\n0::/\n",
        {
            "cpu,cpuacct/docker/b/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/docker/b/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    assert quota_cores(tmp_path) == 1.5


def test_no_control_group_is_no_quota(tmp_path: Path) -> None:
    assert quota_cores(tmp_path) is None
    group(tmp_path, "0::/\n", {})
    assert quota_cores(tmp_path) is None
