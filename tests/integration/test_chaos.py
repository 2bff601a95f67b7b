"""Processes are killed at random moments; the result is that of a run without deaths.

Environment
-----------
DASKBATCH_CHAOS_SEEDS
    How many runs with kills of all sorts; 3, or 25 where CI is set. ``make chaos`` takes 200.
DASKBATCH_CLIENT_KILLS
    How often the client is killed in a row; 10. ``make chaos`` takes 50.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from chaos import Chaos
from lives import kill, wait_for
from results import KINDS, Undisturbed, calls_in, check, window

CI = os.environ.get("CI", "").lower() not in ("", "0", "false")
SEEDS = int(os.environ.get("DASKBATCH_CHAOS_SEEDS", "25" if CI else "3"))
CLIENT_KILLS = int(os.environ.get("DASKBATCH_CLIENT_KILLS", "10"))


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Undisturbed]:
    """What becomes of an input with work for two seconds; a kill of a runner takes one of many tries."""

    @functools.cache
    def run(kind: str) -> Undisturbed:
        return Undisturbed.of(kind, tmp_path_factory.mktemp(kind), mini_batches=100, max_try=8)

    return run


@pytest.mark.parametrize("seed", range(SEEDS))
def test_chaos(seed: int, tmp_path: Path, longer: Callable[[str], Undisturbed]) -> None:
    kind = KINDS[seed // 2 % 3]
    Chaos(seed, tmp_path, longer(kind), on_cluster=seed % 2 == 1, drafts=seed % 4 > 1).run()


@pytest.mark.timeout(180 + 6 * CLIENT_KILLS)
def test_the_client_is_killed_again_and_again(
    tmp_path: Path, longer: Callable[[str], Undisturbed], descendants: Callable[[], list[psutil.Process]]
) -> None:
    # Given a client that is killed at a random moment of each of its lives: on its start, or after so many calls
    expected, chance = longer("table"), random.Random(7)
    command = expected.command(tmp_path)

    def watch(client: subprocess.Popen[bytes]) -> None:
        if len(command.codes) == CLIENT_KILLS:
            return
        more = chance.choice([0, 1, 5, 10])
        seen = calls_in(tmp_path)
        wait_for(lambda: client.poll() is not None or calls_in(tmp_path) >= seen + more, f"{more} more calls")
        with contextlib.suppress(subprocess.TimeoutExpired):
            client.wait(chance.uniform(0, 0.1 if more else 1.5))
        kill(client.pid)

    # When the command is given as often
    began = time.monotonic()
    codes = command.again_and_again(watch)
    # Then it comes to the same, and nothing was done again but what was under way
    assert codes[-1] == 0, command.said()
    kills = codes.count(-9)
    print(f"{kills} kills, {calls_in(tmp_path)} calls, {expected.calls} without, {time.monotonic() - began:.0f} s")
    assert descendants() == []
    check(tmp_path, expected, again=kills * window(expected))
