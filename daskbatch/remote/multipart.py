"""An upload in parts: it appears in one step or not at all, and none is left pending."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from daskbatch.remote.errors import ObjectChanged, ObjectMissing, StorageError, is_transient
from daskbatch.remote.requests import md5_for, once, plain_etag, request
from daskbatch.remote.retrying import USUAL, Limit, retried
from daskbatch.remote.urls import shown, split

__all__ = [
    "MAX_PARTS",
    "MAX_PART_SIZE",
    "MIN_PART_SIZE",
    "Sent",
    "Upload",
    "abort_upload",
    "begin_upload",
    "begun",
    "pending_uploads",
]

MIN_PART_SIZE = 5 * 2**20
"""Bytes; the last part may be smaller."""
MAX_PART_SIZE = 5 * 2**30
MAX_PARTS = 10_000
_MARK = "daskbatch-upload"


@dataclass(frozen=True, slots=True)
class Sent:
    """A part that the store has."""

    number: int
    """From 1."""
    etag: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A pending upload; may be sent to other processes, which send parts of it."""

    url: str
    upload_id: str
    mark: str = field(default="", repr=False)
    """By which the finished object is known, where the reply to its completion was lost."""

    async def send(self, file_system: Any, number: int, data: bytes | memoryview, limit: Limit = USUAL) -> Sent:
        """Send the bytes of a part. Sending a part twice is harmless."""
        answer = await request(
            file_system, "upload_part", self.url, f"sending part {number}", limit,
            UploadId=self.upload_id, PartNumber=number, Body=bytes(data), ContentMD5=await md5_for(file_system, data),
        )  # fmt: skip
        return Sent(number, plain_etag(answer))

    async def copy(
        self, file_system: Any, number: int, source: str, start: int, end: int, token: str = "", limit: Limit = USUAL
    ) -> Sent:
        """Have the server copy bytes ``[start, end)`` of another object.

        Raises
        ------
        ObjectChanged
            Where the etag of `source` is not `token`, unless that is empty.
        StorageError
        """
        bucket, key = split(source)
        doing = f"copying {shown(source)} as part {number}"
        answer = await request(
            file_system, "upload_part_copy", self.url, doing, limit,
            UploadId=self.upload_id, PartNumber=number, CopySource={"Bucket": bucket, "Key": key},
            CopySourceRange=f"bytes={start}-{end - 1}", CopySourceIfMatch=f'"{token}"' if token else None,
        )  # fmt: skip
        if token:  # moto, and Ceph up to 16 at least, take no notice of CopySourceIfMatch
            head = await request(file_system, "head_object", source, doing, limit)
            if (seen := plain_etag(head)) != token:
                raise ObjectChanged(
                    f"{shown(source)}: the object has changed: its etag was {token} and is {seen}. Next: start a new"
                    " run."
                )
        return Sent(number, plain_etag(answer["CopyPartResult"]))

    async def finish(self, file_system: Any, sent: list[Sent], limit: Limit = USUAL) -> str:
        """Let the object appear; its etag."""
        parts = [{"PartNumber": one.number, "ETag": f'"{one.etag}"'} for one in sorted(sent, key=lambda s: s.number)]

        async def attempt(failed: int) -> str:
            try:
                answer = await once(
                    file_system, "complete_multipart_upload", self.url,
                    UploadId=self.upload_id, MultipartUpload={"Parts": parts},
                )  # fmt: skip
            except Exception as error:
                # After a lost reply the upload is gone because it is complete: then the object bears its mark.
                if not failed or is_transient(error) or not (etag := await self._etag_if_mine(file_system, limit)):
                    raise
                return etag
            # Ceph 16 tells no etag here.
            return plain_etag(answer) or plain_etag(
                await request(file_system, "head_object", self.url, "asking", limit)
            )

        return await retried(attempt, self.url, "finishing the upload", limit)

    async def _etag_if_mine(self, file_system: Any, limit: Limit) -> str:
        try:
            head = await request(file_system, "head_object", self.url, "asking for it", limit)
        except StorageError:
            return ""
        return plain_etag(head) if head.get("Metadata", {}).get(_MARK) == self.mark else ""


@contextlib.asynccontextmanager
async def begun(
    file_system: Any, url: str, record: Callable[[str], object] | None = None, limit: Limit = USUAL
) -> AsyncIterator[Upload]:
    """Begin an upload, and abort it where the block ends with an error or is cancelled.

    Parameters
    ----------
    record
        Is called with the upload id before anything is sent: what a later process needs to abort it.
    """
    beginning = asyncio.ensure_future(begin_upload(file_system, url, limit))
    try:
        upload = await asyncio.shield(beginning)
    except asyncio.CancelledError:  # without its id it could not be aborted
        await abort_upload(file_system, url, (await beginning).upload_id, limit)
        raise
    try:
        if record is not None:
            record(upload.upload_id)
        yield upload
    except BaseException:
        await abort_upload(file_system, url, upload.upload_id, limit)
        raise


async def begin_upload(file_system: Any, url: str, limit: Limit = USUAL) -> Upload:
    """Begin an upload of `url`. Its key has one writer: what an earlier one of the same key left is aborted where a
    reply was lost, since the lost one may be among it.
    """
    mark, tries = uuid.uuid4().hex, 0

    async def attempt(failed: int) -> Any:
        nonlocal tries
        tries = failed
        return await once(file_system, "create_multipart_upload", url, Metadata={_MARK: mark})

    answer = await retried(attempt, url, "beginning an upload", limit)
    upload = Upload(url, str(answer["UploadId"]), mark)
    if tries:
        for key, upload_id in await pending_uploads(file_system, url, limit):
            if key == split(url)[1] and upload_id != upload.upload_id:
                await abort_upload(file_system, url, upload_id, limit)
    return upload


async def abort_upload(file_system: Any, url: str, upload_id: str, limit: Limit = USUAL) -> None:
    """Abort it; well too where there is none. A part that arrives during it survives: hence the second look."""
    for _ in range(3):
        try:
            await request(file_system, "abort_multipart_upload", url, "aborting an upload", limit, UploadId=upload_id)
            await request(file_system, "list_parts", url, "aborting an upload", limit, UploadId=upload_id, MaxParts=1)
        except ObjectMissing:
            return


async def pending_uploads(file_system: Any, url: str, limit: Limit = USUAL) -> list[tuple[str, str]]:
    """Keys and upload ids of the uploads that are pending under keys that begin as that of `url`."""
    key = split(url)[1]
    place = url[: len(url) - len(key)]
    found: list[tuple[str, str]] = []
    where: dict[str, str] = {}
    while True:
        answer = await request(
            file_system, "list_multipart_uploads", place, "listing uploads", limit, Prefix=key, **where
        )
        found += [(upload["Key"], upload["UploadId"]) for upload in answer.get("Uploads", ())]
        if not answer.get("IsTruncated"):
            return found
        where = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}
