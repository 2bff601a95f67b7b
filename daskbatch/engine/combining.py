"""The combined file of a run whose output lies on a store: who makes it, and that it appears in one step."""

from __future__ import annotations

import contextlib
import math
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from daskbatch.errors import SegmentDamaged
from daskbatch.failpoints import failpoint
from daskbatch.remote import compose
from daskbatch.remote.combine import Streamed, copied_parts, stream
from daskbatch.remote.compose import Part
from daskbatch.remote.errors import ObjectChanged, ObjectMissing, StorageError
from daskbatch.remote.filesystem import filesystem, is_s3
from daskbatch.remote.multipart import Sent, Upload
from daskbatch.remote.objects import object_state
from daskbatch.remote.put import put_whole_file
from daskbatch.remote.retrying import Limit
from daskbatch.remote.segments import SegmentObjects
from daskbatch.remote.urls import join, split
from daskbatch.store.combine import Combined, combine
from daskbatch.store.ledger import Ledger
from daskbatch.store.payloads import Payloads
from daskbatch.types import Chunk

if TYPE_CHECKING:
    from distributed import Client

    from daskbatch.engine.prefix import RunPrefix

__all__ = ["combine_on_store"]

_SMALL = 16 * 2**20
"""Bytes up to which this process makes the result itself: no worker has to be asked."""
_SENT, _COPIED = 8, 32
"""Parts of one task, roughly: what a worker fetches and sends, and what the store copies."""
_AT_ONCE = 8
"""Parts that a task has under way. While its last ones are, they are fewer: so tasks are not small."""
_TRIES = 3
"""Of a task whose worker is lost."""
_LEFT = Limit(tries=4, seconds=15.0)
"""Of what clears up after others: no result waits long for a store that cannot do it."""


def combine_on_store(
    folder: RunPrefix,
    chunks: Sequence[Chunk],
    name: str,
    confirm: Callable[[], None],
    ledger: Ledger,
    client: Client | None,
) -> Combined:
    """Make one object of all payloads.

    Parameters
    ----------
    folder : RunPrefix
    chunks : sequence of Chunk
        Every one that counts.
    name : str
        Of the object; its suffix chooses the format.
    confirm : callable
        Called when all is sent, right before the object appears: what it raises prevents that.
    ledger : Ledger
        Notes the upload before anything is sent.
    client : Client or None
        Its workers do the work; None: this process.

    Raises
    ------
    SegmentDamaged
        A payload is not the one that was committed.
    RunFailed
        Column types of two mini-batches do not unify (Parquet).
    StorageError
        The store does not answer. No upload is pending then, unless the store kept it from being aborted.
    """
    segments = folder.results
    assert isinstance(segments, SegmentObjects)
    url = join(folder.url, name)
    payloads = Payloads(segments, chunks)
    size = payloads.bytes
    if size <= _SMALL or not is_s3(filesystem(url, folder.options)):
        return _by_a_file(folder, chunks, name, confirm)
    parts = copied_parts(payloads, segments, name)

    def note(upload_id: str) -> None:
        failpoint("combine.upload.before")
        ledger.upload(url, upload_id)

    _abort_left(url, folder, ledger)
    upload = compose.begin(url, folder.options, note)
    try:
        sha256 = None
        try:
            if parts is None:
                streamed = _on_a_worker(client, stream, upload, segments, chunks, name)
                sent, written, sha256 = list(streamed.sent), streamed.bytes, streamed.sha256
            else:
                sent = _sent(client, upload, parts, folder)
                written = sum(piece.size for part in parts for piece in part.pieces)
        except (ObjectMissing, ObjectChanged) as error:
            raise SegmentDamaged(str(error)) from error
        failpoint("combine.upload.after")
        failpoint("combine.finish.before")
        confirm()
        etag = compose.finish(upload, sent, folder.options)
        failpoint("combine.finish.after")
    except BaseException:
        with contextlib.suppress(StorageError):  # what went wrong first is what is told; who goes on aborts it
            compose.abort(url, upload.upload_id, folder.options)
        raise
    return Combined(name, payloads.rows, written, sha256, etag)


def _abort_left(url: str, folder: RunPrefix, ledger: Ledger) -> None:
    """Abort uploads of exactly this object that others have begun: a kill may come before their ledger tells of one.

    An engine that was displaced may be at one still: it must not publish. One that has displaced us may be too: what
    is listed before our claim is seen to be the last cannot be of a later one. A store that refuses is left alone.
    """
    with contextlib.suppress(StorageError):
        pending = compose.pending(url, folder.options, _LEFT)
        left = [upload_id for key, upload_id in pending if key == split(url)[1]]
        seen = folder.look(folder.latest_epoch(), ledger) if left else None
        if seen is None or seen[0]:
            return
        for upload_id in left:
            compose.abort(url, upload_id, folder.options, _LEFT)


def _by_a_file(folder: RunPrefix, chunks: Sequence[Chunk], name: str, confirm: Callable[[], None]) -> Combined:
    """As on a disk, in the mirror's private part; then it is put."""
    local = folder.state / f"result-{secrets.token_hex(4)}-{name}"
    try:
        made = combine(folder.results, folder.state, chunks, local)
        confirm()
        url = join(folder.url, name)
        etag = put_whole_file(url, str(local), folder.options)
        if not etag:
            state = object_state(url, folder.options)
            etag = state.token if state is not None else ""
    finally:
        local.unlink(missing_ok=True)
    return made._replace(name=name, etag=etag)


def _on_a_worker(client: Client | None, work: Callable[..., Streamed], *what: Any) -> Streamed:
    if client is None:
        return work(*what)
    from distributed.scheduler import KilledWorker

    for left in reversed(range(_TRIES)):
        future = client.submit(work, *what, key=f"daskbatch-combine-{secrets.token_hex(8)}", pure=False, retries=0)
        try:
            result: Streamed = future.result()
        except KilledWorker:
            if not left:
                raise
        else:
            return result
        finally:
            future.release()
    raise AssertionError("the last try returns or raises")


def _sent(client: Client | None, upload: Upload, parts: Sequence[Part], folder: RunPrefix) -> list[Sent]:
    if client is None:
        return compose.send_many(upload, parts, folder.options)
    futures = [
        client.submit(
            compose.send_many, upload, some, folder.options, at_once=_AT_ONCE,
            key=f"daskbatch-combine-{secrets.token_hex(8)}", pure=False, retries=0,
        )
        for some in _in_rows(parts, max(1, sum(client.nthreads().values())))
    ]  # fmt: skip
    try:
        return [sent for found in client.gather(futures) for sent in found]
    finally:
        client.cancel(futures)  # where one has failed, the others are of no use


def _in_rows(parts: Sequence[Part], threads: int) -> list[list[Part]]:
    """Deal parts to tasks, each of which gets its share of both kinds: enough tasks for all threads, if there are.

    What the store copies is dealt in whole rounds of all threads: with one task too many, one thread would have that
    while the others look on.
    """
    sent, copied = [part for part in parts if not part.copied], [part for part in parts if part.copied]
    least = min(threads, math.ceil(len(parts) / _AT_ONCE))
    rounds = len(copied) // (_COPIED * threads)
    count = max(least, math.ceil(len(sent) / _SENT), rounds * threads)
    return [sent[number::count] + copied[number::count] for number in range(count)]
