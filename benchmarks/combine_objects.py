"""The reduction on a store: 2 GiB in 500 segments become one object, beside the server's own copy of the same bytes.

The server is Ceph, started as the tests do it; see ``tests/services/ceph_server.py``. Two Dask workers in processes of
their own send what the server cannot copy: pieces under 5 MiB. Of the client the bytes that pass its sockets are
counted, Dask's too, and those of the scheduler, which lives in it. ``--small``: a smoke test.

The first table combines segments that are there, each as it was put. The second is of whole runs with as many results
of 4 MiB, each put by itself, with and without what gathers neighbours while the run goes on. Its ``run`` ends when the
last mini-batch has, and its ``combine`` begins there: it waits for what is still being gathered. ``whole`` is the
whole call, so what gathering costs the run shows there. ``--seconds`` is what a mini-batch sleeps, as one that waits
for an accelerator does. The server, the workers and what they run share the cores of one machine.

The server's own copy is made twice, right before the result is put together and right after: it is slower with
memory that it has to ask for than with what it has just let go. Its speed is that of half as many bytes, as its memory
is also this machine's. The ratio is that of the times per byte, to the mean of both copies, whose own time is in none
of ours.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "services"))

MIB = 2**20
BUCKET = "combine"
MEMORY = 12
"""GiB of the server: the results, what is gathered of them, the result, and its own copies."""


@contextlib.contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """Bytes that pass the sockets of this process while the context lasts."""
    total = 0
    methods: dict[str, Any] = {name: getattr(socket.socket, name) for name in ("recv", "recv_into", "send", "sendmsg")}

    def counting(name: str) -> Any:
        def call(self: socket.socket, *given: Any) -> Any:
            nonlocal total
            done = methods[name](self, *given)
            total += len(done) if name == "recv" else done
            return done

        return call

    for name in methods:
        setattr(socket.socket, name, counting(name))
    try:
        yield lambda: total
    finally:
        for name in methods:
            delattr(socket.socket, name)


def segments(folder: Any, count: int, size: int) -> list[Any]:
    """Commit `count` segments of one mini-batch each."""
    from daskbatch.types import Record

    writer = folder.writer("bench")
    data = os.urandom(size)
    chunks = []
    for number in range(count):
        writer.append(Record(number, 0, 1, 1, 1, 0, 0, 0, 0.0), data, "[]")
        chunks.append(writer.commit())
    return chunks


class ServersCopy:
    """The server's own copy of one object in parts, 16 at a time: as often as is asked, each to a name of its own.

    Nothing is deleted before `clear`: a server that collects deleted bytes would do so beside what is measured next.

    Parameters
    ----------
    client
        Of boto3.
    size
        Bytes that what is compared with it has; a copy is of half as many.
    part
        Bytes.
    """

    def __init__(self, client: Any, size: int, part: int) -> None:
        self._client, self._part, self._made = client, part, ["big"]
        self._count = max(1, size // 2 // part)
        self._scale = size / (self._count * part)
        begun = client.create_multipart_upload(Bucket=BUCKET, Key="big")
        data = os.urandom(part)

        def put(number: int) -> dict[str, Any]:
            answer = client.upload_part(**where(begun), PartNumber=number, Body=data)
            return {"PartNumber": number, "ETag": answer["ETag"]}

        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(put, range(1, self._count + 1)))
        client.complete_multipart_upload(**where(begun), MultipartUpload={"Parts": parts})

    def seconds(self) -> tuple[float, float]:
        """Have it copied; what that would take for `size` bytes, and what it took."""
        self._made.append(f"copy-{len(self._made)}")
        begun = self._client.create_multipart_upload(Bucket=BUCKET, Key=self._made[-1])

        def copy(number: int) -> dict[str, Any]:
            start = (number - 1) * self._part
            answer = self._client.upload_part_copy(
                **where(begun), PartNumber=number, CopySource={"Bucket": BUCKET, "Key": "big"},
                CopySourceRange=f"bytes={start}-{start + self._part - 1}",
            )  # fmt: skip
            return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

        began = time.perf_counter()
        with ThreadPoolExecutor(16) as pool:
            parts = list(pool.map(copy, range(1, self._count + 1)))
        self._client.complete_multipart_upload(**where(begun), MultipartUpload={"Parts": parts})
        took = time.perf_counter() - began
        return took * self._scale, took

    def clear(self) -> None:
        """Delete all."""
        for key in self._made:
            self._client.delete_object(Bucket=BUCKET, Key=key)


def where(begun: dict[str, Any]) -> dict[str, str]:
    """Say which upload, by the answer to its beginning."""
    return {name: begun[name] for name in ("Bucket", "Key", "UploadId")}


class Beside:
    """Times the server's own copy right before and right after what `RunPrefix.combine` does."""

    def __init__(self, own: ServersCopy, passed: Callable[[], int]) -> None:
        self._own, self._passed = own, passed
        self.before = self.after = 0.0
        """Seconds for as many bytes as are compared."""
        self.took, self.through = 0.0, 0
        """Seconds of the two copies, and bytes that they passed through this process."""

    def __enter__(self) -> Self:
        from daskbatch.engine.prefix import RunPrefix

        combine = RunPrefix.combine

        def between(*given: Any) -> Any:
            self.before = self._copied()
            made = combine(*given)
            self.after = self._copied()
            return made

        self._patch = mock.patch.object(RunPrefix, "combine", between)
        self._patch.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._patch.stop()

    def _copied(self) -> float:
        passed = self._passed()
        seconds, took = self._own.seconds()
        self.took += took
        self.through += self._passed() - passed
        return seconds


def our_combine(dask_client: Any, endpoint: str, count: int, size: int, own: ServersCopy) -> tuple[float, int, Beside]:
    """Combine as a run does; seconds, and bytes through this process."""
    from daskbatch.engine.mirror import private_folder
    from daskbatch.engine.prefix import RunPrefix
    from daskbatch.remote.deleting import delete_below

    options = (("endpoint_url", endpoint),)
    with private_folder() as mirror:
        folder = RunPrefix(f"s3://{BUCKET}/out-{time.time_ns()}", mirror, options)
        folder.refresh()
        ledger = folder.claim(1, "bench", ())
        chunks = segments(folder, count, size)
        try:
            with counted() as passed, Beside(own, passed) as beside:
                began = time.perf_counter()
                made = folder.combine(chunks, "result.txt", lambda: None, ledger, dask_client)
                seconds = time.perf_counter() - began - beside.took
                through = passed() - beside.through
            if made.bytes != count * size:
                raise SystemExit(f"{made.bytes} bytes were combined, {count * size} were to be")
        finally:
            ledger.close()
            delete_below(folder.url, options)
    return seconds, through, beside


SCRIPT = """
    import os, time
    def run(mini_batch):
        number = int(os.path.basename(mini_batch[0]))
        time.sleep({seconds})
        return [f"{{number:08}}" + "x" * {rest}]
"""


class Measured(NamedTuple):
    """A whole run; seconds."""

    run: float
    combine: float
    whole: float
    through: int
    """Bytes through this process."""
    gathered: int
    """Objects that were made while it went on."""
    before: float
    """The server's own copy, right before it combined; `after`: right after."""
    after: float


def whole_run(
    dask_client: Any, client: Any, endpoint: str, count: int, gathering: bool, seconds: float, own: ServersCopy
) -> Measured:
    """Run `count` mini-batches with results of 4 MiB, one a task."""
    import daskbatch
    from daskbatch.engine import over_dask
    from daskbatch.remote.deleting import delete_below

    url = f"s3://{BUCKET}/run-{time.time_ns()}"
    with contextlib.ExitStack() as stack:
        stack.callback(delete_below, url, (("endpoint_url", endpoint),))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "in").mkdir()
        for number in range(count):
            (folder / "in" / f"{number:08}").touch()
        script = folder / "score.py"
        script.write_text(textwrap.dedent(SCRIPT.format(seconds=seconds, rest=4 * MIB - 9)))
        if not gathering:
            stack.enter_context(mock.patch.object(over_dask, "_reduction", return_value=None))
        passed = stack.enter_context(counted())
        beside = stack.enter_context(Beside(own, passed))
        began = time.perf_counter()
        done = daskbatch.run(
            script, folder / "in", output=url, client=dask_client, storage_options={"endpoint_url": endpoint},
            mini_batch_size=1, task_seconds=0.001, append_row_file_name="result.txt", progress=False,
        )  # fmt: skip
        whole, through = time.perf_counter() - began - beside.took, passed() - beside.through
        for number in range(count):  # each where it belongs
            wide = f"bytes={number * 4 * MIB}-{number * 4 * MIB + 8}"
            answer = client.get_object(Bucket=BUCKET, Key=f"{url.partition(BUCKET + '/')[2]}/result.txt", Range=wide)
            if answer["Body"].read() != b"%08dx" % number:
                raise SystemExit(f"the result of mini-batch {number} is not in its place")
        if done.summary["output"]["bytes"] != count * 4 * MIB:
            raise SystemExit(f"{done.summary['output']['bytes']} bytes were combined, {count * 4 * MIB} were to be")
        key = url.partition(BUCKET + "/")[2]
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{key}/.daskbatch/")
        ledger = [one["Key"] for page in pages for one in page["Contents"] if "/ledger-" in one["Key"]]
        gathered = sum(
            client.get_object(Bucket=BUCKET, Key=one)["Body"].read().count(b'{"gathered":') for one in ledger
        )
    phases = done.summary["phases"]
    combine = phases["combine"] - beside.took
    return Measured(phases["run"], combine, whole, through, gathered, beside.before, beside.after)


def whole_runs(dask_client: Any, client: Any, endpoint: str, count: int, rounds: int, seconds: float) -> None:
    """Print the table of whole runs."""
    print()
    print("| gathering | objects | own copy before | after | run | combine | ratio | whole | through the client |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for _ in range(rounds):
        for gathering in (True, False):
            own = ServersCopy(client, count * 4 * MIB, 16 * MIB if count < 100 else 32 * MIB)
            made = whole_run(dask_client, client, endpoint, count, gathering, seconds, own)
            own.clear()
            word, ratio = "yes" if gathering else "no", made.combine / ((made.before + made.after) / 2)
            print(
                f"| {word} | {made.gathered} | {made.before:.2f} s | {made.after:.2f} s | {made.run:.1f} s |"
                f" {made.combine:.2f} s | {ratio:.2f} | {made.whole:.1f} s | {made.through / 1024:.0f} KiB |",
                flush=True,
            )


def main() -> None:
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from ceph_server import ceph_server  # type: ignore[import-not-found]
    from distributed import Client, LocalCluster

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--only", choices=("segments", "runs"))
    given = parser.parse_args()
    small = given.small
    rounds = 1 if small else given.rounds
    count = 12 if small else 500
    with contextlib.ExitStack() as stack:
        stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(ceph_server(gib=8 if small else MEMORY))
        os.environ.update(server.environment)
        config = Config(s3={"addressing_style": "path"}, max_pool_connections=16, read_timeout=300)
        client = boto3.client("s3", endpoint_url=server.endpoint, config=config)
        client.create_bucket(Bucket=BUCKET)
        cluster = stack.enter_context(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None))
        dask_client = stack.enter_context(Client(cluster))
        if given.only == "runs":
            whole_runs(dask_client, client, server.endpoint, count, rounds, given.seconds)
            return
        print("| segments | of | own copy before | after | combine | ratio | through the client |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for size in (4 * MIB, 8 * MIB):
            number = count * 4 * MIB // size
            for _ in range(rounds):
                own = ServersCopy(client, count * 4 * MIB, 16 * MIB if small else 32 * MIB)
                seconds, through, beside = our_combine(dask_client, server.endpoint, number, size, own)
                own.clear()
                ratio = seconds / ((beside.before + beside.after) / 2)
                print(
                    f"| {number} | {size // MIB} MiB | {beside.before:.2f} s | {beside.after:.2f} s |"
                    f" {seconds:.2f} s | {ratio:.2f} |"
                    f" {through / 1024:.0f} KiB |",
                    flush=True,
                )
        if given.only is None:
            whole_runs(dask_client, client, server.endpoint, count, rounds, 0.0 if small else given.seconds)


if __name__ == "__main__":
    main()
