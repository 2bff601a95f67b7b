"""Azurite, Microsoft's own emulator of Azure Blob storage, from npm, with all its data in memory."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3_server import free_port

__all__ = ["AzuriteServer", "Container", "Unavailable", "azurite_server"]

VERSION = "3.37.0"
FOLDER = Path(__file__).parents[2] / "build" / f"azurite-{VERSION}"
"""Where npm installs it, once."""
ACCOUNT = "daskbatchtests"


class Unavailable(Exception):
    """Raised where Azurite cannot be installed or started here; the message is the reason."""


@dataclass(frozen=True, slots=True)
class AzuriteServer:
    """A server that runs, and who may use it."""

    endpoint: str
    """Such as ``http://127.0.0.1:20000/account``."""
    key: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variable by which any client of Azure finds server and credentials."""
        return {"AZURE_STORAGE_CONNECTION_STRING": self.connection(self.key)}

    def connection(self, key: str) -> str:
        """A connection string, with the right key or another."""
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={self.endpoint};"


@dataclass(frozen=True, slots=True)
class Container:
    """A container that is new and empty, and a plain client of its server that is not the one under test."""

    name: str
    server: AzuriteServer
    client: Any

    @property
    def url(self) -> str:
        return f"abfs://{self.name}"

    def put(self, key: str, data: bytes = b"") -> str:
        """Put an object; its URL."""
        self.client.upload_blob(key, data, overwrite=True)
        return f"{self.url}/{key}"

    def get(self, key: str) -> bytes:
        data: bytes = self.client.download_blob(key).readall()
        return data

    def keys(self) -> list[str]:
        return [blob.name for blob in self.client.list_blobs()]

    def has(self, key: str) -> bool:
        return key in self.keys()

    def pending(self) -> list[str]:
        """Names of which there are blocks, but no object yet."""
        return sorted({blob.name for blob in self.client.list_blobs(include=["uncommittedblobs"])} - {*self.keys()})

    def etag(self, key: str) -> str:
        etag: str = self.client.get_blob_client(key).get_blob_properties().etag
        return etag.strip('"')


def program() -> str:
    """The emulator's program, by npm where it is missing.

    Raises
    ------
    Unavailable
        Where there is no node or npm, or the package cannot be had.
    """
    if found := shutil.which("azurite-blob"):
        return found
    if not (shutil.which("node") and shutil.which("npm")):
        raise Unavailable("Azurite is not installed, and node and npm, which install it, are not either")
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with (FOLDER.parent / "azurite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test sessions may want it at once
        if not FOLDER.exists():
            part = Path(tempfile.mkdtemp(prefix="azurite-", dir=FOLDER.parent))
            command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(part), f"azurite@{VERSION}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(part, ignore_errors=True)
                raise Unavailable(f"npm install azurite failed: {done.stderr.strip()[-300:]}")
            part.rename(FOLDER)
    return str(FOLDER / "node_modules" / ".bin" / "azurite-blob")


@contextlib.contextmanager
def azurite_server(timeout: float = 60.0) -> Iterator[AzuriteServer]:
    """Run Azurite while the context lasts, then stop it and remove its folder.

    Parameters
    ----------
    timeout
        Seconds that the start may take.

    Raises
    ------
    Unavailable
        Where it cannot be installed or does not come up.
    """
    command = program()
    key, port = base64.b64encode(os.urandom(64)).decode(), free_port()
    with tempfile.TemporaryDirectory(prefix="azurite-") as folder:
        out = Path(folder, "out")
        # Where the tests are killed, nobody else would end it.
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        options = ["--blobPort", str(port), "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
        with out.open("wb") as file:
            process = subprocess.Popen(
                [*bound, command, "--blobHost", "127.0.0.1", *options, "--silent"],
                cwd=folder, stdout=file, stderr=file, env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"},
            )  # fmt: skip
        try:
            end = time.monotonic() + timeout
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > end:
                    raise Unavailable(f"Azurite does not come up: {out.read_text()[-300:]}")
                time.sleep(0.1)
            yield AzuriteServer(f"http://127.0.0.1:{port}/{ACCOUNT}", key)
        finally:
            process.kill()  # its data is in memory: there is nothing to save
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    with azurite_server() as server:
        print(f"AZURE_STORAGE_CONNECTION_STRING='{server.environment['AZURE_STORAGE_CONNECTION_STRING']}'")
        print("Enter ends it.", flush=True)
        sys.stdin.readline()
