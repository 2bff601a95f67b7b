"""On a Dask cluster each process is killed (SIGKILL) at each step; the result is that of a run without deaths.

The names of these tests are the fault table. A worker's or a nanny's death is the cluster's affair, and the run goes
on by itself. When client or scheduler die the run does, and the same command is given again, on the cluster as it is
or, when its scheduler has died, on one that was started anew.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from deaths import Death, Reached, paused_at
from lives import kill, parent_of
from outside_cluster import OutsideCluster
from results import Undisturbed, check, window

DEATHS = (
    Death("worker", "run.before", "files", 3, paused=True),
    Death("worker", "run.after", "stream", 3, paused=True),
    Death("worker", "segment.write.after", "table", 2),
    Death("worker", "segment.sync.before", "files", 2),
    Death("worker", "report.before", "table", 2),
    Death("nanny", "run.before", "files", 3, paused=True),
    Death("nanny", "segment.sync.before", "table", 2, paused=True),
    Death("scheduler", "run.before", "files", 3, paused=True),
    Death("client", "run.before", "table", 3, paused=True),
    Death("client", "ledger.append.after", "files", 3),
)


def victim_of(death: Death, who: Reached, client: int, cluster: OutsideCluster) -> int:
    """Process id; `who` waits at the failpoint: a runner, or a Dask worker below its nanny."""
    if death.victim in ("client", "scheduler"):
        return client if death.victim == "client" else cluster.scheduler
    in_runner = death.point.partition(".")[0] in ("read", "run", "result")
    worker = parent_of(who.ppid) if in_runner else who.pid
    return worker if death.victim == "worker" else parent_of(worker)


@pytest.mark.parametrize("death", DEATHS, ids=str)
def test_every_way_to_die_on_a_cluster(
    death: Death, tmp_path: Path, undisturbed: Callable[[str], Undisturbed],
    descendants: Callable[[], list[psutil.Process]], eventually: Callable[..., None],
) -> None:  # fmt: skip
    # Given a run on a cluster, and somebody who dies
    expected, points = undisturbed(death.kind), tmp_path / "points"
    plan = death.environment(points)
    with OutsideCluster(tmp_path, plan) as cluster:
        command = expected.command(tmp_path, "--scheduler", str(cluster.file), environment=plan)

        def watch(process: subprocess.Popen[bytes]) -> None:
            if death.paused and not command.codes:
                who = paused_at(points, death.point, process)
                kill(victim_of(death, who, process.pid, cluster))
                who.go()

        # When the command is given until it ends by itself, on a cluster that is there
        codes = command.again_and_again(watch)
        if death.victim == "scheduler":
            assert "the Dask scheduler is gone" in command.said()
            cluster.revive()
            codes = command.again_and_again()
    # Then it died with those that it needs
    assert death.has_come(points)
    assert codes == {"client": [-signal.SIGKILL, 0], "scheduler": [1, 0]}.get(death.victim, [0]), command.said()
    # and no process is left when the cluster has gone, and the result is there, as if nobody had died
    eventually(lambda: descendants() == [], "an end of all processes")
    check(tmp_path, expected, again=window(expected, slots=1 if death.victim in ("worker", "nanny") else 2))
