"""Fixtures: Azurite once a session, a container a test. For ``pytest_plugins = ["azure_services"]``."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator

import pytest
from azurite_server import AzuriteServer, Container, Unavailable, azurite_server
from fault_proxy import FaultProxy, fault_proxy

__all__ = ["azure", "azurite", "through"]


@pytest.fixture(scope="session")
def azurite() -> Iterator[AzuriteServer]:
    """Skips where Azurite or adlfs cannot be had; fails there under CI."""
    with contextlib.ExitStack() as stack:
        try:
            import adlfs  # noqa: F401

            server = stack.enter_context(azurite_server())
        except (ImportError, Unavailable) as error:
            if os.environ.get("CI", "").lower() not in ("", "0", "false"):
                pytest.fail(f"{error} (CI is set, so this is a failure)")
            pytest.skip(str(error))
        yield server


@pytest.fixture
def through(azure: Container, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy with faults between the code under test and the server."""
    from adlfs import AzureBlobFileSystem

    server, _, _ = azure.server.endpoint.rpartition("/")
    string = azure.server.environment["AZURE_STORAGE_CONNECTION_STRING"]
    with fault_proxy(server) as proxy:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", string.replace(server, proxy.endpoint))
        AzureBlobFileSystem.clear_instance_cache()
        yield proxy


@pytest.fixture
def azure(azurite: AzuriteServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Container]:
    """A container for this test."""
    from adlfs import AzureBlobFileSystem
    from azure.storage.blob import BlobServiceClient

    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    for name, value in azurite.environment.items():
        monkeypatch.setenv(name, value)
    # A client made with other variables would be taken for the same one.
    AzureBlobFileSystem.clear_instance_cache()
    client = BlobServiceClient.from_connection_string(azurite.environment["AZURE_STORAGE_CONNECTION_STRING"])
    container = client.create_container(f"test-{uuid.uuid4().hex[:12]}")
    yield Container(container.container_name, azurite, container)
    container.delete_container()
    client.close()
    AzureBlobFileSystem.clear_instance_cache()
