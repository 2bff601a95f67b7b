"""An engine's life in a run: it owns the run from the claim of its ledger to its end, or until another takes over."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from daskbatch import errors
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.owner import this_process
from daskbatch.engine.stop import Stop
from daskbatch.events import Progress
from daskbatch.failpoints import failpoint

if TYPE_CHECKING:
    from daskbatch.store.draft import Draft

__all__ = ["Epoch", "owner_text"]

_ASLEEP = 5.0  # seconds without a look: the laptop slept, or the process was stopped


class Epoch:
    """One engine's ownership of a run.

    Parameters
    ----------
    folder : RunFolder
    number : int
        From 1. Its ledger must not exist.
    run_id : str
    earlier : sequence
        (file name, bytes) of each ledger that counts, oldest first.

    Raises
    ------
    FileExistsError
        Another engine has claimed it.
    """

    def __init__(self, folder: RunFolder, number: int, run_id: str, earlier: Sequence[tuple[str, int]] = ()) -> None:
        self.number = number
        self._folder = folder
        self.draft: Draft | None = None
        """What is written of the combined file before all of it is known. Let go of with the run."""
        failpoint("epoch.begin.before")
        self.ledger = folder.claim(number, run_id, earlier)
        self._content: dict[str, Any] = {
            "run_id": run_id,
            "epoch": number,
            **this_process(),
            "since": dt.datetime.now().astimezone().isoformat(timespec="seconds"),
            "beat": 0,
            "seconds": 0.0,
            "phase": "plan",
            "progress": None,
        }
        self._began = time.monotonic()
        try:
            folder.begin_beat(number, self._content)
        except BaseException:
            with contextlib.suppress(OSError, errors.DaskbatchError):
                self.ledger.end("Failed")
            self.ledger.close()
            raise
        failpoint("epoch.begin.after")
        self._stop: Stop | None = None
        self._on_stop: Callable[[Stop], None] = lambda _: None
        self._looked = _clock()
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="daskbatch-heartbeat", daemon=True)
        self._thread.start()

    def on_stop(self, tell: Callable[[Stop], None]) -> None:
        """Have `tell` called, from another thread, when the run is canceled or taken over."""
        self._on_stop = tell
        if self._stop is not None:
            tell(self._stop)

    def begin_draft(self, draft: Draft | None) -> None:
        """Begin the combined file, in the place of one that was begun before; None: no more."""
        if self.draft is not None:
            self.draft.drop()
        self.draft = draft

    def enter(self, phase: str) -> None:
        """Show the phase in the next beat."""
        self._content["phase"] = phase

    def show(self, progress: Progress) -> None:
        """Show how far the run is in the next beat."""
        self._content["progress"] = {
            name: getattr(progress, name) for name in progress.__dataclass_fields__ if name != "time"
        }

    def displaced(self) -> Stop | None:
        """The reason to stop where another engine owns the run. Looks at once after a sleep."""
        if _clock() - self._looked > _ASLEEP:
            self._look()
        return self._stop if self._stop is not None and self._stop.taken_over else None

    def look(self) -> Stop | None:
        """As `displaced`, by a look at this moment: before what cannot be taken back."""
        self._look()
        return self._stop if self._stop is not None and self._stop.taken_over else None

    def close(self, status: str | None, *, drop_segments: bool = False) -> None:
        """Let go of the run.

        Parameters
        ----------
        status : str or None
            How the run ended; None where that is not this engine's to say.
        drop_segments : bool
            The result is there and whole: what it was made of goes, as the last thing that is done to the run.
        """
        if self._ended.is_set():
            return
        try:
            self.begin_draft(None)
        finally:
            self._let_go(status, drop_segments)

    def _let_go(self, status: str | None, drop_segments: bool) -> None:
        ours = self.look() is None
        ended = False
        with contextlib.suppress(OSError, errors.DaskbatchError):  # the disk is full, say, and that was told
            if status is not None and ours:
                self.ledger.end(status)
                ended = True
                if drop_segments and self.look() is None:
                    failpoint("segments.drop.before")
                    self._folder.drop_segments()
                    failpoint("segments.drop.after")
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self.ledger.close()
        if not ours:
            return
        with contextlib.suppress(OSError, errors.DaskbatchError):
            if ended:
                self._folder.forget_cancel()
                self._folder.forget_beat(self.number)
            else:  # nobody need wait for another beat
                self._folder.beat(self.number, {**self._content, "over": True})

    def _beat(self) -> None:
        while not self._ended.wait(self._folder.beat_every):
            self._look()
            self._content["beat"] += 1
            self._content["seconds"] = round(time.monotonic() - self._began, 1)
            # The next beat may do; where the run is gone, the look has told.
            with contextlib.suppress(OSError, errors.DaskbatchError):
                self._folder.beat(self.number, self._content)

    def _look(self) -> None:
        """Is there a successor? Is somebody asking for an end?"""
        with self._looking:
            self._looked = _clock()
            if self._stop is not None and self._stop.taken_over:
                return
            stop = None
            seen = self._folder.look(self.number, self.ledger)
            if seen is None:
                return
            gone, asked = seen
            if gone:
                owner = owner_text(self._successor())
                stop = Stop(
                    errors.TakenOver,
                    f"this run stood still for a while, and has been taken over by another ({owner}), which goes on"
                    " with it. Nothing was lost",
                )
            elif self._stop is None and asked:
                stop = Stop(errors.RunCanceled, "canceled by daskbatch cancel")
            if stop is None:
                return
            self._stop = stop
        self._on_stop(stop)

    def _successor(self) -> dict[str, Any] | None:
        try:
            return self._folder.read_beat(self.number + 1)
        except errors.DaskbatchError:
            return None


def owner_text(heartbeat: dict[str, Any] | None) -> str:
    """Who that is, for people."""
    if heartbeat is None:
        return "owner unknown"
    return f"process {heartbeat['pid']} on {heartbeat['host']}, since {heartbeat['since']}"


def _clock() -> float:
    """Seconds that go on while the machine sleeps, where the system has such a clock."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)
