"""The output of a run on a store, and the local folder that mirrors what of it is small."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.engine.combining import combine_on_store
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.record import RunRecord
from daskbatch.engine.run_urls import RunUrls
from daskbatch.layout import FAILED_ITEMS, LOGS, RUN_SUMMARY, STATE_FOLDER
from daskbatch.options.source import archived
from daskbatch.remote.compose import abort
from daskbatch.remote.deleting import delete_below
from daskbatch.remote.errors import StorageError
from daskbatch.remote.listing import keys_below
from daskbatch.remote.object_ledger import ObjectLedger, read_ledger
from daskbatch.remote.objects import fetch_below, object_state, read_many, read_object
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.put import delete, put_bytes
from daskbatch.remote.retrying import AT_START, USUAL, Limit
from daskbatch.remote.segments import SegmentObjects, SegmentObjectWriter
from daskbatch.remote.uploads import Uploads, now_and_then
from daskbatch.remote.urls import join
from daskbatch.spec import Fetched
from daskbatch.store.combine import Combined
from daskbatch.store.ledger import Ledger
from daskbatch.store.replay import header_of
from daskbatch.store.segments import Segments, Writer
from daskbatch.types import Chunk

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["RunPrefix"]

_MIRRORED = (RUN_SUMMARY, FAILED_ITEMS)


class RunPrefix(RunFolder):
    """The places of one run on a store.

    Parameters
    ----------
    url : str
        What the user calls the output folder.
    mirror : Path
        A private local folder, for this process alone. The paths of `RunFolder` are paths in it.
    options
        How the store is reached.
    """

    beat_every = 5.0
    lost_after = 60.0
    combines_on_workers = True

    def __init__(self, url: str, mirror: Path, options: StorageOptions = ()) -> None:
        super().__init__(mirror)
        self.url = url.rstrip("/")
        self._urls = RunUrls(self.url)
        self.options = options
        self._limit: Limit = AT_START
        self._run_id = ""
        self._number = 0
        self._uploads = Uploads({str(mirror): self.url}, options, skip=(STATE_FOLDER,))
        self._written: Uploads | None = None
        self._there: set[str] = set()  # of those that may go again

    @property
    def place(self) -> str:
        """The output's URL."""
        return self.url

    @property
    def exists(self) -> bool:
        """Whether there is the state of a run, whatever it is worth."""
        return self.latest_epoch() > 0

    def key(self, *names: str) -> str:
        """URL of something of the run that this engine owns."""
        return self._urls.run(self._run_id, *names)

    @property
    def state_place(self) -> str:
        """URL of what the run has on the store."""
        return self.key()

    def source_for_nodes(self, copy: str) -> Fetched:
        """Put an archive of what `snapshot` gave, of which the nodes see nothing.

        Raises
        ------
        EntryScriptError
            A file's name cannot stand in an archive.
        StorageError
        """
        url = self.key(f"{os.path.basename(copy)}.zip")
        if object_state(url, self.options) is None:
            put_bytes(url, archived(Path(copy)), self.options)
        return Fetched(url, "zip", "", self.options)

    @property
    def results(self) -> Segments:
        """What the slots wrote."""
        return SegmentObjects(self.key("segments"), self.options)

    def writer(self, name: str) -> Writer:
        """What writes segments of that name, from this process."""
        unique = f"{name}-{self._number}-{secrets.token_hex(4)}"
        return SegmentObjectWriter(self.key("segments"), unique, self.options, str(self.state))

    @property
    def script_files(self) -> Path:
        """Local folder for what a script writes in this process."""
        return self.state / "written"

    def keep_files(self, place: str) -> None:
        """Put what the script has written so far."""
        if self._written is None:
            self._written = Uploads({str(self.script_files): place}, self.options)
        self._written.send()

    def models_used(self) -> dict[str, bytes]:
        """Files that note which models the run uses."""
        return {path.name: path.read_bytes() for path in sorted(self.models.glob("*")) if path.is_file()}

    def shown(self) -> AbstractContextManager[None]:
        """Put what is for people now and then."""
        return now_and_then(self.push)

    def take_back(self, number: int) -> None:
        """Take away a run that nothing was done for. Who claims it in this very moment finds its claim again."""
        claim = self.ledger(number).read_bytes().splitlines(keepends=True)[0]
        delete_below(self.key(), self.options)
        self.forget_beat(number)
        delete(self._urls.claim(number), self.options)
        if object_state(self._urls.claim(number + 1), self.options) is not None:
            put_bytes(self._urls.claim(number), claim, self.options)
        for name in _MIRRORED:
            self.remove(name)

    def abort_uploads(self, uploads: Sequence[tuple[str, str]]) -> None:
        """End what killed engines have begun to upload."""
        for url, upload_id in uploads:
            abort(url, upload_id, self.options)

    def refresh(self) -> None:
        """Bring the mirror up to what is on the store: claims, the ledgers that count, the record, the summary."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, headers = 0, []
        while (claim := read_object(self._urls.claim(number + 1), self.options, self._limit)) is not None:
            number += 1
            self.ledger(number).write_bytes(claim)
            headers.append((header_of(self.ledger(number)) or {}, claim))
        if not headers:
            return
        latest = headers[-1][0]
        run_id = str(latest.get("run"))
        for name in {*(name for name, _ in latest.get("earlier", ())), self.ledger(number).name}:
            epoch = int(name.removeprefix("ledger-").removesuffix(".jsonl"))
            header, claim = headers[epoch - 1]
            below = self._urls.run(str(header.get("run")))
            token = str(header.get("token"))
            self.ledger(epoch).write_bytes(read_ledger(claim, below, epoch, token, self.options))
        self._fetch_record(run_id, number)
        found = read_many([self._urls.named(name) for name in _MIRRORED], self.options, self._limit)
        for name, data in zip(_MIRRORED, found, strict=True):
            _keep(self.output / name, data)
            self._there |= {name} if data is not None else set()
        fetch_below(self._urls.run(run_id, "models"), self.models, self.options)
        self._uploads.take_as_sent()

    def _fetch_record(self, run_id: str, number: int) -> None:
        """What the last engine that wrote it down has written."""
        urls = [self._urls.run(run_id, f"run-{n}.json") for n in range(number, 0, -1)]
        data = next((data for data in read_many(urls, self.options, self._limit) if data is not None), None)
        _keep(self.record, data)
        self._run_id = run_id

    def holds(self, name: str) -> bool:
        """Whether there is an object of that name."""
        return object_state(self._urls.named(name), self.options, self._limit) is not None

    @property
    def has_segments(self) -> bool:
        """Whether what the slots wrote is there still."""
        return any(keys_below(self._urls.run(self._run_id, "segments"), self.options, self._limit))

    # The claim of the run

    def claim(self, number: int, run_id: str, earlier: Sequence[tuple[str, int]]) -> Ledger:
        """Begin an epoch's ledger; see `ObjectLedger.begin`."""
        below = self._urls.run(run_id)
        where = (self.ledger(number), self._urls.claim(number), below, run_id)
        ledger = ObjectLedger.begin(*where, epoch=number, earlier=earlier, options=self.options)
        self._run_id, self._number, self._limit = run_id, number, USUAL
        return ledger

    def has_ended(self, number: int) -> bool:
        """Whether the engine of that epoch has ended in order, or has lost the run."""
        header = header_of(self.ledger(number)) or {}
        claim = self.ledger(number).read_bytes().splitlines(keepends=True)[0]
        below, token = self._urls.run(str(header.get("run"))), str(header.get("token"))
        try:
            self.ledger(number).write_bytes(read_ledger(claim, below, number, token, self.options))
        except StorageError:
            return False
        return super().has_ended(number)

    def look(self, number: int, ledger: Ledger) -> tuple[bool, bool] | None:
        """Whether the run is another's by now, and whether somebody asks for an end; None: that cannot be seen."""
        try:
            follows = object_state(self._urls.claim(number + 1), self.options) is not None
            asked = object_state(self._urls.cancel, self.options) is not None
            return follows or not ledger.in_place, asked
        except StorageError:
            return None

    def ask_to_cancel(self) -> None:
        """Leave word for the engine."""
        put_bytes(self._urls.cancel, b"{}", self.options, self._limit)

    def forget_cancel(self) -> None:
        """The engine has heard it."""
        delete(self._urls.cancel, self.options)

    # Heartbeats

    def begin_beat(self, number: int, content: dict[str, Any]) -> None:
        """Show a sign of life for the first time."""
        self.beat(number, content)

    def beat(self, number: int, content: dict[str, Any]) -> None:
        """Show a sign of life."""
        put_bytes(self._urls.beat(number), json.dumps(content).encode(), self.options)

    def read_beat(self, number: int) -> dict[str, Any] | None:
        """The last sign of life."""
        content = json.loads(read_object(self._urls.beat(number), self.options, self._limit) or b"null")
        return content if isinstance(content, dict) else None

    def forget_beat(self, number: int) -> None:
        """That engine is gone."""
        delete(self._urls.beat(number), self.options)

    def is_fresh(self, number: int, now: float, seconds: float) -> bool:
        """Whether the last sign of life is no older, by the clocks of this host and the store."""
        found = object_state(self._urls.beat(number), self.options, self._limit)
        return found is not None and abs(now - found.changed) < seconds

    def last_sign(self) -> int:
        """When an engine was last at work here, in nanoseconds, by the clock of the store."""
        number = self.latest_epoch()
        urls = (self._urls.named(RUN_SUMMARY), self._urls.claim(number), self._urls.beat(number))
        found = (object_state(url, self.options, self._limit) for url in urls)
        return max((int(one.changed * 1e9) for one in found if one is not None), default=0) or time.time_ns()

    # What is written down

    def write_record(self, record: RunRecord) -> None:
        """Write down what the run is, durably."""
        super().write_record(record)
        put_bytes(self.key(f"run-{self._number}.json"), self.record.read_bytes(), self.options)

    def keep_plan(self, digest: str) -> None:
        """Put the plan to the store, where another one of the same run cannot be."""
        if self.plan.stat().st_size:
            data = gzip.compress(self.plan.read_bytes(), 1, mtime=0)
            put_bytes(self.key(f"plan-{digest[:32]}.gz"), data, self.options)

    def fetch_plan(self, digest: str) -> None:
        """Have the plan that an earlier engine has made, if it can be had."""
        data = read_object(self.key(f"plan-{digest[:32]}.gz"), self.options)
        with contextlib.suppress(OSError, EOFError, zlib.error):  # one that is damaged cannot be had
            _keep(self.plan, b"" if data is None else gzip.decompress(data))

    def fetch_logs(self) -> None:
        """Have the logs of earlier lives, which are added to. Those of the workers are the workers' affair."""
        for name in (join(LOGS, "sys"), join(LOGS, "user", "error")):
            fetch_below(self._urls.named(name), self.output / name, self.options)
        self._uploads.take_as_sent()

    def push(self) -> None:
        """Put what is for people, where it has changed; of the summary and what has failed, that it is gone too."""
        self._uploads.send()
        for name in _MIRRORED:
            if os.path.lexists(self.output / name):
                self._there.add(name)
            elif name in self._there:
                delete(self._urls.named(name), self.options)
                self._there.discard(name)

    def is_result(self, output: Mapping[str, Any]) -> bool:
        """Whether the object is the one that was published, by the summary's word."""
        found = object_state(self._urls.named(output["name"]), self.options, self._limit)
        return found is not None and (found.size, found.token) == (output["bytes"], output["etag"])

    @property
    def scratch(self) -> Path:
        """For files while they are written, in the mirror."""
        return self.state

    def combine(
        self,
        chunks: Sequence[Chunk],
        name: str,
        confirm: Callable[[], None],
        ledger: Ledger,
        client: Client | None,
        draft: object = None,
    ) -> Combined:
        """Make the combined object; see `combine_on_store`."""
        return combine_on_store(self, chunks, name, confirm, ledger, client)

    def remove(self, name: str) -> None:
        """Delete an object of the output, if it is there."""
        super().remove(name)
        delete(self._urls.named(name), self.options)

    def discard(self) -> None:
        """Take a run away: its claim says already that nobody goes on with it. Results stay."""
        header = header_of(self.ledger(max(1, self.latest_epoch() - 1))) or {}
        shutil.rmtree(self.state, ignore_errors=True)
        for run_id in {str(header.get("run")), self._run_id} - {"None", ""}:
            delete_below(self._urls.run(run_id), self.options)
        for name in _MIRRORED:
            self.remove(name)
        self.refresh()

    def drop_segments(self) -> None:
        """The combined file is published: what it was made of goes."""
        delete_below(self.key("segments"), self.options)


def _keep(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(data)
