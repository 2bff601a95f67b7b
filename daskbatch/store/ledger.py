"""What counts: an append-only file of JSON lines, written by the engine alone.

The first line is the epoch's header::

    {"epoch": 2, "run": "...", "earlier": [["ledger-1.jsonl", 8120]]}

``earlier`` names the ledgers of earlier epochs, oldest first, and how many bytes of each are accepted:
an engine that wakes after another took over writes beyond that, into the void. Every other line is one of::

    {"chunk": ["slot-0.seg", 0, 812, 4096, 40, 2837465]}         these mini-batches are done
    {"gathered": [["slot-0.seg", 0]], "chunk": [...]}            it counts in the place of those chunks, which it holds
    {"streams": [4]}                                             the stream of file 4 has come to its end
    {"tried": [3, 17], "attempt": 2, "error": "RunTimeout"}      the second try of mini-batch 3-17 failed
    {"failed": [3, 17], "error": "RunTimeout", "entry": null}    it has finally failed, or returned too little
    {"void": ["slot-0.seg", 0]}                                  that chunk is damaged: its mini-batches run again
    {"void": null}                                               lines are lost: ends of streams count no more
    {"listed": [1000, "5f2a"]}                                   so many files, of this digest, were found by then
    {"cleared": true}                                            failures so far are forgotten, to be tried again
    {"upload": ["s3://b/out/p.csv", "2~x"]}                      this upload of the result is begun, and may be pending
    {"ended": "Failed"}                                          the epoch ended in order; nothing comes after

Each line ends with ``"crc"``: the CRC-32 of the file from its beginning to there, so that neither a changed line nor a
missing one goes unseen. A chunk line may name streams too. A chunk counts once its line is on disk. The other lines
become durable with the next chunk, at the latest at `Ledger.close`; what a crash of the machine takes of them is tried
again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from daskbatch.errors import RunFailed
from daskbatch.failpoints import failpoint
from daskbatch.store.checksum import crc32
from daskbatch.store.segments import sync_folder, write_all
from daskbatch.types import Chunk

__all__ = ["Ledger", "is_sealed", "seal", "sealed_header"]

Key = tuple[int, int]
_SEAL = ',"crc":"%08x"}\n'
_SEAL_BYTES = len(_SEAL % 0)


def seal(line: Mapping[str, Any], before: int) -> tuple[bytes, int]:
    """A line as it is written, and the CRC-32 of the file with it; `before` is that without it."""
    text = json.dumps(line, separators=(",", ":"))[:-1].encode()
    checksum = crc32(text, before)
    data = text + (_SEAL % checksum).encode()
    return data, crc32(data[len(text) :], checksum)


def is_sealed(line: bytes, before: int) -> bool:
    """Whether these are the bytes that `seal` gave."""
    text = line[:-_SEAL_BYTES]
    return line[-_SEAL_BYTES:] == (_SEAL % crc32(text, before)).encode()


def sealed_header(run_id: str, epoch: int, earlier: Sequence[tuple[str, int]], **more: str) -> bytes:
    """The first line of a ledger, as it is written."""
    header = {"epoch": epoch, "run": run_id, "earlier": [list(one) for one in earlier], **more}
    return seal(header, 0)[0]


class Ledger:
    """One epoch's ledger, being written."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._size = 0
        self._checksum = 0  # of the file so far
        self.path = path

    @classmethod
    def create(cls, path: Path, run_id: str, *, epoch: int = 1, earlier: Sequence[tuple[str, int]] = ()) -> Ledger:
        """Begin an epoch.

        Parameters
        ----------
        earlier
            (file name beside `path`, bytes accepted) of each earlier epoch, oldest first.

        Raises
        ------
        FileExistsError
            Someone else has begun this epoch.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        ledger = cls(fd, path)
        try:
            ledger._write_bytes(sealed_header(run_id, epoch, earlier))
            ledger._sync()
            sync_folder(path.parent)
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)  # nobody need wait for the engine of a ledger that never began
            raise
        return ledger

    def commit(self, *chunks: Chunk, streams: Sequence[int] = ()) -> None:
        """Make chunks count, and with them all lines before: on a disk on return, on a store soon, see `settle`.

        Parameters
        ----------
        streams
            Files whose streams have ended with these chunks, or without any. One line says both, for a stream
            whose end counted without its last results would lose them.
        """
        lines: list[dict[str, Any]] = [{"chunk": list(chunk)} for chunk in chunks]
        if streams:
            lines = lines or [{}]
            lines[-1]["streams"] = list(streams)
        failpoint("ledger.append.before")
        self._write(lines)
        failpoint("ledger.append.after")
        self._soon()

    def gathered(self, chunk: Chunk, parts: Iterable[Chunk]) -> None:
        """`chunk` counts in the place of `parts`, whose mini-batches it holds: as durable as by `commit`.

        Raises
        ------
        RunFailed
            It cannot be written.
        """
        self._write([{"gathered": [[part.segment, part.offset] for part in parts], "chunk": list(chunk)}])
        self._soon()

    def attempt_failed(self, mini_batch: Key, attempt: int, error: str) -> None:
        """Note a failed try.

        Parameters
        ----------
        attempt
            Tries charged to the mini-batch so far, this one included.
        error
            Type of the error, such as ``"RunTimeout"``.
        """
        self._write([{"tried": list(mini_batch), "attempt": attempt, "error": error}])

    def failed(self, mini_batch: Key, error: str, entry: Mapping[str, Any] | None = None) -> None:
        """Note a final failure, or missing items of one that succeeded.

        Parameters
        ----------
        entry
            Its line in ``failed_items.jsonl``, where that must survive too.
        """
        self._write([{"failed": list(mini_batch), "error": error, "entry": entry and dict(entry)}])

    def listed(self, files: int, digest: str) -> None:
        """Note how far the input is listed, before results of what was found so far count."""
        self._write([{"listed": [files, digest]}])

    def void(self, chunks: Iterable[Chunk]) -> None:
        """Take back chunks that are damaged, and all ends of streams so far. On return this is durable."""
        self._write([{"void": [chunk.segment, chunk.offset]} for chunk in chunks] or [{"void": None}])
        self._sync()

    def clear(self) -> None:
        """Forget the failures so far: what failed is to be tried again. On return this is durable."""
        self._write([{"cleared": True}])
        self._sync()

    def upload(self, url: str, upload_id: str) -> None:
        """Note an upload before anything of it is sent: who goes on aborts it. On return this is durable."""
        self._write([{"upload": [url, upload_id]}])
        self._sync()

    def end(self, status: str) -> None:
        """The epoch ends in order. On return this is durable."""
        self._write([{"ended": status}])
        self._sync()

    @property
    def in_place(self) -> bool:
        """Whether the file still bears its name: who discards a run moves all of it away."""
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        here = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def settle(self) -> None:
        """Return when all that was committed is durable."""

    def close(self) -> None:
        """Make all lines durable and let go of the file. A second call does nothing."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        checksum, data = self._checksum, b""
        for line in lines:
            sealed, checksum = seal(line, checksum)
            data += sealed
        self._write_bytes(data)

    def _write_bytes(self, data: bytes) -> None:
        try:
            write_all(self._fd, data)
        except OSError as error:
            # What follows must not be glued to half a line.
            os.ftruncate(self._fd, self._size)
            raise RunFailed(
                f"the run's ledger {self.path} cannot be written: {error.strerror}. What was committed before is"
                " safe. Next: make room, then repeat the command: it goes on from there."
            ) from error
        self._continue(data)

    def _continue(self, data: bytes) -> None:
        """Count what the file has got."""
        self._size += len(data)
        self._checksum = crc32(data, self._checksum)

    def _soon(self) -> None:
        """Have it durable before long."""
        self._sync()

    def _sync(self) -> None:
        failpoint("ledger.sync.before")
        os.fsync(self._fd)
        failpoint("ledger.sync.after")
