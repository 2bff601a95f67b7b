"""Deaths by chance: processes of a run are killed at random moments, and the same command is given until it is done.

The moments are a Poisson process; they, the victims and the input come from a seed. What the processes are just
doing at such a moment does not, so a seed that fails may have to be run some times to fail again.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import eager_drafts
import psutil
from lives import kill
from outside_cluster import OutsideCluster
from results import Undisturbed, check, window

__all__ = ["Chaos"]

_SECONDS_BETWEEN = 0.6
_MOST_KILLS = 8
"""After these it is left in peace, so that it comes to an end."""


@dataclass
class Chaos:
    """One run, and who is killed in it."""

    seed: int
    folder: Path
    expected: Undisturbed
    on_cluster: bool
    drafts: bool
    """Whether the result is begun during the run, small as it is."""
    killed: list[str] = field(default_factory=list)
    """Who was killed, in order."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._cluster: OutsideCluster | None = None

    def run(self) -> None:
        """Run, kill, run again; check the result."""
        with self._somewhere() as given:
            prelude = eager_drafts.PRELUDE if self.drafts else ""
            command = self.expected.command(self.folder, *given, prelude=prelude)
            codes = command.again_and_again(self._kill_some)
            if codes[-1] == 1 and "init() failed" in command.said():
                # Its processes were killed again and again while they started: that is told, and the user goes on.
                command.again_and_again(self._kill_some)
        story = f"seed {self.seed}, killed: {self.killed}, exit codes: {codes}\n{command.said()}"
        assert codes[-1] == 0, story
        check(self.folder, self.expected, again=self._cost())

    @contextlib.contextmanager
    def _somewhere(self) -> Iterator[list[str]]:
        if not self.on_cluster:
            yield []
            return
        with OutsideCluster(self.folder, {}) as self._cluster:
            yield ["--scheduler", str(self._cluster.file)]

    def _kill_some(self, client: subprocess.Popen[bytes]) -> None:
        while client.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(self._random.expovariate(1 / _SECONDS_BETWEEN))
                return
            if self._cluster is not None:
                self._cluster.mend()
            if len(self.killed) < _MOST_KILLS:
                victims = self._victims(client.pid)
                who = self._random.choice(sorted(victims))
                self.killed.append(who)
                kill(self._random.choice(victims[who]))

    def _victims(self, client: int) -> dict[str, list[int]]:
        """Process ids by what they are; only those that there are at this moment."""
        nannies = self._cluster.nannies if self._cluster else []
        workers = [pid for nanny in nannies for pid in _children(nanny, "multiprocessing.spawn")]
        supervisors = [pid for worker in workers or [client] for pid in _children(worker, "daskbatch.worker.child")]
        runners = [pid for supervisor in supervisors for pid in _children(supervisor, "daskbatch.worker.child")]
        found = {"client": [client], "worker": workers, "supervisor": supervisors, "runner": runners}
        return {name: pids for name, pids in found.items() if pids}

    def _cost(self) -> int:
        """Calls of ``run()`` that the deaths may have cost."""
        costs = {"client": window(self.expected), "worker": window(self.expected, slots=1)}
        return sum(costs.get(who, 1) for who in self.killed)


def _children(pid: int, words: str) -> list[int]:
    """Children with these words in their command line."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if words in " ".join(child.cmdline()):
                    found.append(child.pid)
    return sorted(found)
