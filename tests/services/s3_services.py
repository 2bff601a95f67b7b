"""Fixtures: real S3 servers, a bucket a test, a proxy with faults. For ``pytest_plugins = ["s3_services"]``.

A test that asks for ``s3`` runs against moto; with ``@pytest.mark.parametrize("s3", BOTH, indirect=True)``
(``BOTH`` is in ``s3_server``) against Ceph too, which starts once a session.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator

import pytest
from ceph_server import Unavailable, ceph_server
from fault_proxy import FaultProxy, fault_proxy
from s3_server import Bucket, S3Server, moto_server

__all__ = ["ceph_s3", "moto_s3", "proxied", "s3"]


@pytest.fixture(scope="session")
def moto_s3() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def ceph_s3() -> Iterator[S3Server]:
    """Skips where Ceph cannot be had; fails there under CI."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(ceph_server())
        except Unavailable as error:
            if os.environ.get("CI", "").lower() not in ("", "0", "false"):
                pytest.fail(f"{error} (CI is set, so this is a failure)")
            pytest.skip(str(error))
        yield server


@pytest.fixture
def s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket for this test, on moto or on the server that the test is parametrised with."""
    import boto3
    from botocore.config import Config

    server: S3Server = request.getfixturevalue(f"{getattr(request, 'param', 'moto')}_s3")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    config = Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"})
    # A session of its own: the default one keeps the first credentials that it finds.
    client = boto3.Session().client("s3", endpoint_url=server.endpoint, config=config)
    name = f"test-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    yield Bucket(name, server, client, server.endpoint)
    for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", ()):
        client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        if found := [{"Key": entry["Key"]} for entry in page.get("Contents", ())]:
            client.delete_objects(Bucket=name, Delete={"Objects": found})
    client.delete_bucket(Bucket=name)
    client.close()


@pytest.fixture
def proxied(s3: Bucket) -> Iterator[FaultProxy]:
    """A proxy in front of the test's server: give its ``endpoint`` as ``endpoint_url``."""
    with fault_proxy(s3.server.endpoint) as proxy:
        yield proxy
