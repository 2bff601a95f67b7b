"""What the tests know of an S3 server."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["BOTH", "Bucket", "S3Server", "free_port", "moto_server"]


BOTH = ("moto", "ceph")
"""What ``s3`` may be parametrised with."""


@dataclass(frozen=True, slots=True)
class S3Server:
    """A server that runs, and who may use it."""

    name: str
    """``moto`` or ``ceph``."""
    endpoint: str
    """Such as ``http://127.0.0.1:7480``."""
    key: str
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which any S3 client finds its credentials; no file of the user's is read."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket that is new and empty, and a plain client of its server that is not the one under test."""

    name: str
    server: S3Server
    client: Any
    endpoint: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    @property
    def options(self) -> dict[str, Any]:
        """What a user gives as ``storage_options``."""
        return {"endpoint_url": self.endpoint}

    def put(self, key: str, data: bytes = b"") -> str:
        """Put an object; its URL."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)
        return f"{self.url}/{key}"

    def get(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def keys(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def has(self, key: str) -> bool:
        return key in self.keys()

    def pending(self) -> list[str]:
        """Keys of multipart uploads that are neither completed nor aborted."""
        uploads = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ())
        return [upload["Key"] for upload in uploads]


def free_port() -> int:
    """A port on which nobody listens just now, and that no client is given by chance before it is used."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as held, contextlib.suppress(OSError):
            held.bind(("127.0.0.1", port))
            return port
    raise OSError("no port between 20000 and 30000 is free")


@contextlib.contextmanager
def moto_server() -> Iterator[S3Server]:
    """Run moto's S3 server in a thread while the context lasts."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server("moto", f"http://{host}:{port}", "mototests", "mototestssecret")
    finally:
        server.stop()
