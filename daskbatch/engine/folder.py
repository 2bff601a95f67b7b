"""The output folder of a run: where its state lies, and its private part."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.engine.heartbeat import EVERY, LOST_AFTER, begin_heartbeat, read_heartbeat, write_heartbeat
from daskbatch.engine.record import RunRecord
from daskbatch.layout import FAILED_ITEMS, LOGS, RUN_SUMMARY, STATE_FOLDER
from daskbatch.options.source import copy_source
from daskbatch.spec import Fetched
from daskbatch.store.combine import Combined, combine
from daskbatch.store.ledger import Ledger
from daskbatch.store.replay import has_ended
from daskbatch.store.segments import SegmentFolder, Segments, SegmentWriter, Writer
from daskbatch.types import Chunk

if TYPE_CHECKING:
    from distributed import Client

    from daskbatch.store.draft import Draft

__all__ = ["RunFolder"]

_DISCARDED = ".discarded"


class RunFolder:
    """The places of one run, and what is done there that a store would do otherwise; see `RunPrefix`.

    Parameters
    ----------
    output : Path
        The output folder.
    """

    beat_every = EVERY
    """Seconds between two heartbeats."""
    lost_after = LOST_AFTER
    """Seconds for which a heartbeat must be seen to stand still."""
    combines_on_workers = False
    """Whether the cluster is needed until the result is there."""

    def __init__(self, output: Path) -> None:
        self.output = output

    @property
    def place(self) -> str:
        """The output folder, as its users name it."""
        return str(self.output)

    @property
    def state(self) -> Path:
        """Private: plan, ledger, segments, source."""
        return self.output / STATE_FOLDER

    @property
    def plan(self) -> Path:
        """The files of the input, as they were found."""
        return self.state / "plan.jsonl"

    @property
    def record(self) -> Path:
        """What the run is; there once planning is done."""
        return self.state / "run.json"

    def ledger(self, epoch: int) -> Path:
        """What counts, by that engine's word. Who makes the file owns the run from then on."""
        return self.state / f"ledger-{epoch}.jsonl"

    def heartbeat(self, epoch: int) -> Path:
        """That engine's sign of life."""
        return self.state / f"engine-{epoch}.json"

    @property
    def cancel(self) -> Path:
        """Asks the engine for an end: it looks each second."""
        return self.state / "cancel"

    def latest_epoch(self) -> int:
        """The number of the last epoch that was claimed, 0 for none."""
        number = 0
        while self.ledger(number + 1).exists():
            number += 1
        return number

    @property
    def segments(self) -> Path:
        """What the slots wrote."""
        return self.state / "segments"

    @property
    def models(self) -> Path:
        """Which versions of registered models the run uses."""
        return self.state / "models"

    @property
    def logs(self) -> Path:
        """For people."""
        return self.output / LOGS

    @property
    def processed(self) -> Path:
        """One line for each mini-batch, after the run."""
        return self.logs / "sys" / "job_report" / "processed_mini-batches.csv"

    @property
    def exists(self) -> bool:
        """Whether there is the state of a run, whatever it is worth."""
        return self.state.exists()

    @property
    def has_segments(self) -> bool:
        """Whether what the slots wrote is there still."""
        return self.segments.is_dir()

    @property
    def state_place(self) -> str:
        """Where the workers find the run's state: the folder, or its URL."""
        return str(self.state)

    @property
    def results(self) -> Segments:
        """What the slots wrote."""
        return SegmentFolder(self.segments)

    def writer(self, name: str) -> Writer:
        """What writes segments of that name, from this process."""
        return SegmentWriter(self.segments, name)

    @property
    def script_files(self) -> Path | None:
        """Local folder for what a script writes in this process, if it is not the script's own; see `keep_files`."""
        return None

    def keep_files(self, place: str) -> None:
        """Have what the script has written so far outlive this process, at that place."""

    def models_used(self) -> dict[str, bytes]:
        """Files that note which models the run uses, where the workers do not find them by themselves."""
        return {}

    def refresh(self) -> None:
        """See what others have done meanwhile."""

    def shown(self) -> AbstractContextManager[object]:
        """While it lasts, what is for people is there for them to see, as far as it is."""
        return nullcontext()

    def fetch_logs(self) -> None:
        """Have the logs of earlier lives, which are added to."""

    def take_back(self, number: int) -> None:
        """Take away a run that nothing was done for. The engine of that epoch owns it."""
        self.discard()

    def abort_uploads(self, uploads: Sequence[tuple[str, str]]) -> None:
        """End what killed engines have begun to upload."""

    def holds(self, name: str) -> bool:
        """Whether there is a file of that name in the output folder."""
        return os.path.lexists(self.output / name)

    # The claim of the run

    def claim(self, number: int, run_id: str, earlier: Sequence[tuple[str, int]]) -> Ledger:
        """Begin an epoch's ledger; see `Ledger.create`."""
        return Ledger.create(self.ledger(number), run_id, epoch=number, earlier=earlier)

    def has_ended(self, number: int) -> bool:
        """Whether the engine of that epoch has ended in order, or has lost the run."""
        return has_ended(self.ledger(number))

    def look(self, number: int, ledger: Ledger) -> tuple[bool, bool] | None:
        """Whether the run is another's by now, and whether somebody asks for an end; None: that cannot be seen."""
        try:
            # Opened, so that a network filesystem asks its server and does not answer from memory.
            os.close(os.open(self.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            return self.ledger(number + 1).exists() or not ledger.in_place, self.cancel.exists()
        except FileNotFoundError:
            return True, False
        except OSError:  # the filesystem hangs or is gone: nobody can have taken anything over there
            return None

    def ask_to_cancel(self) -> None:
        """Leave word for the engine."""
        os.close(os.open(self.cancel, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))

    def forget_cancel(self) -> None:
        """The engine has heard it."""
        self.cancel.unlink(missing_ok=True)

    # Heartbeats

    def begin_beat(self, number: int, content: dict[str, Any]) -> None:
        """Show a sign of life for the first time."""
        begin_heartbeat(self.heartbeat(number), content)

    def beat(self, number: int, content: dict[str, Any]) -> None:
        """Show a sign of life."""
        write_heartbeat(self.heartbeat(number), content)

    def read_beat(self, number: int) -> dict[str, Any] | None:
        """The last sign of life."""
        return read_heartbeat(self.heartbeat(number))

    def forget_beat(self, number: int) -> None:
        """That engine is gone."""
        self.heartbeat(number).unlink(missing_ok=True)

    def is_fresh(self, number: int, now: float, seconds: float) -> bool:
        """Whether the last sign of life is no older, by the clocks of two hosts."""
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            return abs(now - self.heartbeat(number).stat().st_mtime) < seconds
        return False

    def last_sign(self) -> int:
        """When an engine was last at work here, in nanoseconds, by the clock of the place."""
        number = self.latest_epoch()
        return max(map(_written, (self.output / RUN_SUMMARY, self.ledger(number), self.heartbeat(number))))

    # What is written down

    def write_record(self, record: RunRecord) -> None:
        """Write down what the run is, durably."""
        record.write(self.record)

    def read_record(self) -> RunRecord | None:
        """What the run is; see `RunRecord.read`."""
        return RunRecord.read(self.record)

    def keep_plan(self, digest: str) -> None:
        """The plan is made: it must outlive this engine."""

    def fetch_plan(self, digest: str) -> None:
        """Have the plan that an earlier engine has made, if it can be had."""

    def push(self) -> None:
        """Show what is for people: logs, the summary, what has failed."""

    def is_result(self, output: Mapping[str, Any]) -> bool:
        """Whether the file is the one that was published, by the summary's word. Read whole only if it is younger."""
        path, summary = self.output / output["name"], self.output / RUN_SUMMARY
        status = path.stat()
        if status.st_size != output["bytes"]:
            return False
        if status.st_mtime_ns <= summary.stat().st_mtime_ns:
            return True
        with path.open("rb") as file:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == output["sha256"])

    @property
    def scratch(self) -> Path:
        """For files while they are written; on the filesystem of the output."""
        return self.segments

    def combine(
        self,
        chunks: Sequence[Chunk],
        name: str,
        confirm: Callable[[], None],
        ledger: Ledger,
        client: Client | None,
        draft: Draft | None,
    ) -> Combined:
        """Make the combined file; see `daskbatch.store.combine.combine`."""
        return combine(self.results, self.scratch, chunks, self.output / name, confirm, draft)

    def remove(self, name: str) -> None:
        """Delete a file of the output folder, if it is there."""
        (self.output / name).unlink(missing_ok=True)

    def create(self) -> None:
        """Make the private folders that are not there, readable by this user alone."""
        for folder in (self.state, self.segments):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.plan.touch(mode=0o600)

    def discard(self) -> None:
        """Take a run away in one step, so that no engine can half find it; then delete it. Results stay."""
        if self.state.exists():
            self.state.rename(self.output / f"{STATE_FOLDER}.{secrets.token_hex(4)}{_DISCARDED}")
        self.sweep()
        for name in (RUN_SUMMARY, FAILED_ITEMS):
            self.remove(name)

    def sweep(self) -> None:
        """Delete what killed engines have left: half-written files, runs that were being discarded."""
        for path in self.output.glob(f"{STATE_FOLDER}.*{_DISCARDED}"):
            shutil.rmtree(path, ignore_errors=True)
        for folder in (self.state, self.segments):
            for path in folder.glob("*.tmp"):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def drop_segments(self) -> None:
        """The combined file is published: what it was made of goes. In one step, so that nobody finds half of it."""
        away = self.state / f"segments-{secrets.token_hex(4)}.tmp"
        self.segments.rename(away)
        shutil.rmtree(away, ignore_errors=True)

    def snapshot(self, source: str, script: str | None = None) -> Path:
        """Copy a source directory, once for each content.

        Parameters
        ----------
        source : str
        script : str, optional
            A file that has to be in the copy if it lies there.

        Returns
        -------
        Path
            The copy; workers run that, whatever happens to the original meanwhile.

        Raises
        ------
        EntryScriptError
            It is too large to be source code, leaves the script out, or cannot be read.
        """
        # Only a whole copy gets the name, which tells of the bytes copied: the run may be killed, the user may save.
        part = self.state / f"source-{secrets.token_hex(4)}.tmp"
        try:
            target = self.state / f"source-{copy_source(source, part, self.output, script)[:16]}"
            if not target.exists():
                part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return target

    def source_for_nodes(self, copy: str) -> Fetched:
        """Where nodes find what `snapshot` gave."""
        return Fetched(copy, "folder")


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
