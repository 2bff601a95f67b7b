"""A ledger on a store: small immutable objects, put one after the other, that are one ledger file when put together.

The first is the claim of its epoch, at a place that all engines look at; it tells a token. The others lie below a
prefix that bears the token, so that no two engines ever write into one ledger, whatever they believe to own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from daskbatch.errors import RunFailed
from daskbatch.failpoints import failpoint
from daskbatch.remote.objects import read_many, read_object
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.put import Created, create, put_bytes
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.remote.urls import join
from daskbatch.store.ledger import Ledger, sealed_header

__all__ = ["ObjectLedger", "read_ledger"]

_EVERY = 1.0
"""Seconds between two objects, unless somebody waits: bounds their number by the run's time."""
_SETTLE = 2.0
"""Seconds after which an engine looks whether its claim is still its own, on a store without conditional puts."""
_AT_ONCE = 16


class ObjectLedger(Ledger):
    """One epoch's ledger, being written to a file, which a thread puts to the store piece by piece.

    What was written counts once its piece is there, which `settle` waits for. A piece that the store does not take
    ends the run: it can be resumed.

    Parameters
    ----------
    fd, path
        The file.
    claim : bytes
        What the file begins with.
    claim_url, pieces : str
        The first object, and the prefix of the others.
    options, limit
    """

    def __init__(
        self, fd: int, path: Path, claim: bytes, claim_url: str, pieces: str, options: StorageOptions, limit: Limit
    ) -> None:
        super().__init__(fd, path)
        self._continue(claim)
        self.claim = claim
        self.claim_url = claim_url
        self._pieces = pieces
        self._options = options
        self._limit = limit
        self._put = self._size  # bytes that are on the store
        self._number = 0
        self._error: str | None = None
        self._change = threading.Condition()
        self._hurry = 0  # who waits
        self._closing = False
        self._thread = threading.Thread(target=self._send, name="daskbatch-ledger", daemon=True)
        self._thread.start()

    @classmethod
    def begin(
        cls,
        path: Path,
        claim_url: str,
        prefix: str,
        run_id: str,
        *,
        epoch: int = 1,
        earlier: Sequence[tuple[str, int]] = (),
        options: StorageOptions = (),
        limit: Limit = USUAL,
    ) -> ObjectLedger:
        """Begin an epoch.

        Parameters
        ----------
        path
            The local file; one that is there is no one's.
        claim_url
            The same for all engines.
        prefix
            Below which the other pieces lie.
        earlier
            As for `Ledger.create`.

        Raises
        ------
        FileExistsError
            Someone else has begun this epoch.
        StorageError
        """
        token = secrets.token_hex(8)
        claim = sealed_header(run_id, epoch, earlier, token=token)
        if not _claimed(claim_url, claim, options, limit):
            raise FileExistsError(claim_url)
        path.unlink(missing_ok=True)
        path.write_bytes(claim)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return cls(fd, path, claim, claim_url, join(prefix, f"ledger-{epoch}-{token}"), options, limit)

    @property
    def in_place(self) -> bool:
        """Whether the claim is still this engine's.

        Raises
        ------
        StorageError
            Nobody knows.
        """
        return read_object(self.claim_url, self._options, self._limit) == self.claim

    def settle(self) -> None:
        """Wait until all that was written is on the store.

        Raises
        ------
        RunFailed
            The store does not take it.
        """
        with self._change:
            size = self._size
            self._hurry += 1
            self._change.notify_all()
            try:
                while self._put < size and self._error is None:
                    self._change.wait()
            finally:
                self._hurry -= 1
            if self._error is not None:
                raise RunFailed(self._error)

    def close(self) -> None:
        """Wait for what is under way and let go of the file. A second call does nothing."""
        if self._fd < 0:
            return
        with contextlib.suppress(RunFailed):
            self.settle()
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join()
        super().close()

    def _write_bytes(self, data: bytes) -> None:
        if self._error is not None:
            raise RunFailed(self._error)
        super()._write_bytes(data)

    def _soon(self) -> None:
        with self._change:
            self._change.notify_all()

    def _sync(self) -> None:
        self.settle()

    def _send(self) -> None:
        """Put what has been written, again and again."""
        with self.path.open("rb") as file:
            file.seek(self._put)
            last = 0.0
            while True:
                with self._change:
                    while not self._closing and self._put == self._size:
                        self._change.wait()
                    while not (self._closing or self._hurry) and (left := last + _EVERY - time.monotonic()) > 0:
                        self._change.wait(left)
                    size = self._size
                if size == self._put:
                    return
                last = time.monotonic()
                try:
                    failpoint("ledger.put.before")
                    self._number += 1
                    data = file.read(size - self._put)
                    put_bytes(join(self._pieces, f"{self._number:08}"), data, self._options, self._limit)
                    failpoint("ledger.put.after")
                except Exception as error:
                    self._fail(error)
                    return
                with self._change:
                    self._put = size
                    self._change.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._change:
            self._error = (
                f"the run's ledger below {self._pieces} cannot be written: {error} What was committed before is safe."
                " Next: repeat the command when the store can be used again: it goes on from there."
            )
            self._change.notify_all()


def _claimed(url: str, claim: bytes, options: StorageOptions, limit: Limit) -> bool:
    """Whether this engine has made the object.

    Without a conditional put two engines may both believe so for a while, if a put of one is under way for longer than
    the other looks. Then one of them sees at its next look that the claim is another's, and all it has written is
    void, as it lies below its own token.
    """
    made = create(url, claim, options, limit)
    if made is Created.UNSUPPORTED:
        if read_object(url, options, limit) is not None:
            return False
        put_bytes(url, claim, options, limit)
        time.sleep(_SETTLE)
        return read_object(url, options, limit) == claim
    return made is Created.MADE


def read_ledger(claim: bytes, prefix: str, epoch: int, token: str, options: StorageOptions = ()) -> bytes:
    """Put a ledger together again. Its pieces are numbered: the first that is not there ends it, and nothing is listed.

    Raises
    ------
    StorageError
    """
    pieces, number = [claim], 1
    while True:
        urls = [join(prefix, f"ledger-{epoch}-{token}", f"{n:08}") for n in range(number, number + _AT_ONCE)]
        for data in read_many(urls, options):
            if data is None:
                return b"".join(pieces)
            pieces.append(data)
        number += _AT_ONCE
