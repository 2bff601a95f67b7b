"""Fixtures: a real Slurm once a session, its queue empty for each test.

For ``pytest_plugins = ["slurm_services"]``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
from slurm_queue import SlurmServer
from slurm_server import Unavailable, slurm_server

__all__ = ["slurm", "slurm_of_session"]


@pytest.fixture(scope="session")
def slurm_of_session() -> Iterator[SlurmServer]:
    """Skips where Slurm cannot be had; fails there under CI."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(slurm_server())
        except Unavailable as error:
            if os.environ.get("CI", "").lower() not in ("", "0", "false"):
                pytest.fail(f"{error} (CI is set, so this is a failure)")
            pytest.skip(str(error))
        yield server


@pytest.fixture
def slurm(slurm_of_session: SlurmServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmServer]:
    """Slurm as this test's own: its programs find it, and no job of another test is in the queue.

    What a test leaves in the queue is cancelled; a test that must leave nothing asserts it itself.
    """
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_"))]:
        monkeypatch.delenv(name)
    for name, value in slurm_of_session.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_of_session
    slurm_of_session.clear()
    slurm_of_session.kill()
