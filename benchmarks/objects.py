"""10,000 objects of 4 KiB on an S3 server, one slot: daskbatch beside a hand-written loop of 16 gets at a time.

The server is Ceph, started as the tests do it; see ``tests/services/ceph_server.py``. With ``--latency`` each request
waits so many milliseconds on its way, in a proxy that is a process of its own, and each ``run()`` takes ``--run``
milliseconds: then the figure is which share of the time is ``run()``'s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "services"))

BUCKET = "objects"
SCRIPT = """
import time
def run(mini_batch):
    time.sleep({seconds})
    return [len(path) for path in mini_batch]
"""


def put(server: Any, count: int) -> None:
    """Fill the bucket."""
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    config = Config(s3={"addressing_style": "path"}, max_pool_connections=16)
    client = boto3.client("s3", endpoint_url=server.endpoint, config=config)
    client.create_bucket(Bucket=BUCKET)
    data = os.urandom(4096)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: client.put_object(Bucket=BUCKET, Key=f"in/{n:06}", Body=data), range(count)))


async def by_hand(endpoint: str) -> float:
    """Get all objects by 16 tasks; seconds, listing included."""
    from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
    from aiobotocore.session import get_session  # type: ignore[import-untyped]

    config = AioConfig(s3={"addressing_style": "path"}, response_checksum_validation="when_required")
    begin = time.perf_counter()
    async with get_session().create_client("s3", endpoint_url=endpoint, config=config) as client:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        keys = iter([entry["Key"] async for page in pages for entry in page["Contents"]])

        async def get() -> None:
            for key in keys:
                async with (await client.get_object(Bucket=BUCKET, Key=key))["Body"] as body:
                    await body.read()

        await asyncio.gather(*[get() for _ in range(16)])
    return time.perf_counter() - begin


def by_daskbatch(endpoint: str, seconds: float, size: int) -> tuple[float, float]:
    """Seconds of the work, and which share of those after the first mini-batch's begin was ``run()``'s."""
    import daskbatch

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "score.py").write_text(SCRIPT.format(seconds=seconds))
        summary = daskbatch.run(
            f"{folder}/score.py",
            f"s3://{BUCKET}/in/",
            output=f"{folder}/out",
            storage_options={"endpoint_url": endpoint},
            mini_batch_size=size,
            process_count_per_node=1,
            progress=False,
        ).summary
    phases = summary["phases"]
    whole = float(phases["plan"] + phases["run"])
    since = float(phases["plan"] + phases["start"] + phases["run"] - summary["first_run_seconds"])
    return whole, float(summary["run_seconds"]) / since


@contextlib.contextmanager
def delayed(endpoint: str, milliseconds: float) -> Iterator[str]:
    """A way to the server on which each request waits, in a process of its own: else it would wait for our threads."""
    command = [sys.executable, __file__, "--proxy-of", endpoint, "--latency", str(milliseconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def be_proxy(endpoint: str, milliseconds: float) -> None:
    """Tell where it is; end with the process that asked for it."""
    from fault_proxy import fault_proxy  # type: ignore[import-not-found]

    with fault_proxy(endpoint) as proxy:
        proxy.latency = milliseconds / 1000
        print(proxy.endpoint, flush=True)
        sys.stdin.read()


def main() -> None:
    """Measure and print."""
    from ceph_server import ceph_server  # type: ignore[import-not-found]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--mini-batch-size", type=int, default=10)
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds of each request")
    parser.add_argument("--run", type=float, default=0.0, help="milliseconds of each run()")
    parser.add_argument("--proxy-of", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.proxy_of:
        be_proxy(given.proxy_of, given.latency)
        return
    with ceph_server() as server:
        os.environ.update(server.environment)
        put(server, given.objects)
        way = delayed(server.endpoint, given.latency) if given.latency else contextlib.nullcontext(server.endpoint)
        with way as endpoint:
            whole, share = by_daskbatch(endpoint, given.run / 1000, given.mini_batch_size)
            told = f"{whole / given.objects * 1000:.2f} ms an object, run() {share:.0%} of the time"
            print(f"daskbatch: {told}", flush=True)
            hand = asyncio.run(by_hand(endpoint))
            print(f"by hand:   {hand / given.objects * 1000:.2f} ms an object; ratio {whole / hand:.2f}")


if __name__ == "__main__":
    main()
