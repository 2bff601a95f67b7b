"""Fixture: a real OpenSSH server once a session. For ``pytest_plugins = ["ssh_services"]``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
from ssh_server import SSHServer, Unavailable, ssh_server

__all__ = ["ssh"]


@pytest.fixture(scope="session")
def ssh() -> Iterator[SSHServer]:
    """Skips where OpenSSH cannot be had; fails there under CI."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(ssh_server())
        except Unavailable as error:
            if os.environ.get("CI", "").lower() not in ("", "0", "false"):
                pytest.fail(f"{error} (CI is set, so this is a failure)")
            pytest.skip(str(error))
        yield server
