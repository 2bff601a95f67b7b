"""What a run finds in its output folder: nothing, a run to go on with, one to reuse, or one to leave alone."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from daskbatch.engine.changes import changed_at_work, changes_since
from daskbatch.engine.epoch import Epoch, owner_text
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.heartbeat import is_over, stands_still
from daskbatch.engine.record import RunRecord
from daskbatch.engine.submission import read_submission
from daskbatch.errors import DaskbatchError, OutputInUse, RunChanged, UsageError
from daskbatch.events import Event, Notice
from daskbatch.layout import RUN_SUMMARY, partial_name
from daskbatch.options.output import check_unused
from daskbatch.spec import RunSpec
from daskbatch.store.replay import Replay, is_begun, replay

__all__ = ["Beginning", "Begun", "LastLife", "begin", "completed_summary", "last_life"]

COMPLETED = "Completed"
DISCARDED = "discarded"
"""In place of the run's id, in the ledger of who was about to take it away."""
_GONE = "the run there is completed, but its result is gone or changed: it is made anew"
_CHANGED = "{} changed while the run was at work; what was done before may have seen it as it was"


@dataclass(frozen=True, slots=True)
class Beginning:
    """What to do about a run that is there already."""

    fresh: bool = False
    """Discard it."""
    allow_reuse: bool = True
    """If it is completed, and nothing has changed, its result serves."""
    retry_failed: bool = False
    """Try what has finally failed again."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that this engine owns from now on, or one whose result serves."""

    epoch: Epoch | None = None
    """None: the result is reused."""
    run_id: str = ""
    record: RunRecord | None = None
    """None: the run is to be planned."""
    found: Replay | None = None
    """What earlier engines have done; None: nothing."""
    summary: dict[str, Any] | None = None
    """Of the run whose result serves."""


@dataclass(frozen=True, slots=True)
class LastLife:
    """The state of the run in an output folder."""

    number: int
    """Of the last epoch that was claimed; 0: there is no run."""
    found: Replay | None
    record: RunRecord | None
    damage: UsageError | None = None
    """Why there is no record, where there should be one."""

    @property
    def has_failures(self) -> bool:
        """Whether mini-batches have finally failed."""
        lines = [] if self.found is None else self.found.failed.values()
        return any("missing" not in (line["entry"] or {}) for line in lines)

    @property
    def completed(self) -> bool:
        """Whether it ended with a complete result."""
        return self.found is not None and self.found.ended == COMPLETED


def last_life(folder: RunFolder) -> LastLife:
    """Read what is there, whoever writes to it."""
    folder.refresh()
    number = begun = folder.latest_epoch()
    while begun and not is_begun(folder.ledger(begun)):  # killed before it had written a line
        begun -= 1
    found = replay(folder.ledger(begun)) if begun else None
    if found is not None and begun < number:
        found.ended = None
    try:
        return LastLife(number, found, folder.read_record())
    except UsageError as error:
        return LastLife(number, found, None, error)


def begin(
    spec: RunSpec, folder: RunFolder, how: Beginning, inputs: Callable[[], str], tell: Callable[[Event], None]
) -> Begun:
    """Claim the run in the output folder, or find that its result serves.

    Parameters
    ----------
    spec : RunSpec
    folder : RunFolder
    how : Beginning
    inputs : callable
        Gives the digest of the input as it is now.
    tell : callable
        Takes events.

    Raises
    ------
    OutputInUse
        Another engine is at work there.
    RunChanged
        The run there has another script, option or input.
    UsageError
        There is nothing to retry, or files of unknown origin are in the way.
    """
    while True:
        last = last_life(folder)
        if last.number and (last.found is None or last.found.ended is None):
            _wait_until_gone(folder, last.number, tell)
            watched, last = last.number, last_life(folder)
            if last.number != watched:
                continue  # somebody else has taken it over: watch that one
        try:
            return _begin(spec, folder, how, inputs, tell, last)
        except FileExistsError:
            continue  # somebody was quicker: look again at what is there now


def _begin(
    spec: RunSpec, folder: RunFolder, how: Beginning, inputs: Callable[[], str], tell: Callable[[Event], None],
    last: LastLife,
) -> Begun:  # fmt: skip
    discarded = last.found is not None and last.found.run_id == DISCARDED
    if how.fresh or discarded or (last.completed and not (how.allow_reuse or how.retry_failed)):
        if last.record is not None:
            inputs()  # one that is not there must not cost the run that is
        return _claim_anew(spec, folder, last)
    if last.damage is not None:
        raise last.damage
    if last.record is None or last.found is None:
        if how.retry_failed:
            raise UsageError(f"There is no run in {spec.output!r} whose failed mini-batches could be tried again.")
        if not (last.number or folder.exists):
            check_unused(folder.place, spec.append_row_file_name, folder.holds)
        return _claim_new(folder, last)
    # A listing that was broken off is compared when it is made again.
    now = inputs() if last.record.planned else last.record.identity["inputs"]
    _refuse_changes(spec, folder, last, now, reuse=last.completed and not how.retry_failed)
    folder.fetch_logs()  # before anything is told
    if last.completed and not (how.retry_failed and last.has_failures):
        summary = completed_summary(folder, last.record.run_id)
        if summary is not None:
            if not last.has_failures:
                _drop_remains(folder, last.number)
            return Begun(summary=summary)
        tell(Notice(time.time(), _GONE, "WARNING"))
        if not folder.has_segments:  # else it need only be combined again
            return _claim_anew(spec, folder, last)
    for path in changed_at_work(last.record, folder, killed=last.found.ended is None):
        tell(Notice(time.time(), _CHANGED.format(path), "WARNING"))
    return _claim_next(folder, last, last.record, how.retry_failed)


def _drop_remains(folder: RunFolder, number: int) -> None:
    """What an engine leaves that is killed when all is done but the clearing up."""
    with contextlib.suppress(OSError, DaskbatchError):
        if folder.has_segments:
            folder.drop_segments()
        folder.forget_beat(number)


def _claim_new(folder: RunFolder, last: LastLife) -> Begun:
    """Claim an output folder without a run, or with one that was killed before it was planned."""
    folder.create()
    submitted = read_submission(folder.place)
    run_id = submitted.run_id if submitted else f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"
    epoch = Epoch(folder, last.number + 1, run_id)
    with _held(epoch):
        _clean_up(folder, epoch, last)
    return Begun(epoch, run_id)


def _claim_next(folder: RunFolder, last: LastLife, record: RunRecord, retry_failed: bool) -> Begun:
    assert last.found is not None
    found = last.found
    epoch = Epoch(folder, last.number + 1, record.run_id, found.accepted)
    with _held(epoch):
        folder.create()
        _clean_up(folder, epoch, last)
        if retry_failed:
            epoch.ledger.clear()
            found = replay(epoch.ledger.path)
    return Begun(epoch, record.run_id, record, found)


@contextlib.contextmanager
def _held(epoch: Epoch) -> Iterator[None]:
    """Whoever fails or is interrupted here lets go of the run."""
    try:
        yield
    except BaseException:
        epoch.close(None)
        raise


def _clean_up(folder: RunFolder, epoch: Epoch, last: LastLife) -> None:
    """What earlier engines have left goes, while the run is this one's."""
    if epoch.look() is not None:
        return
    if last.found is not None:
        folder.abort_uploads(last.found.uploads)
    folder.forget_cancel()
    folder.sweep()
    for number in range(1, last.number + 1):
        folder.forget_beat(number)


def _claim_anew(spec: RunSpec, folder: RunFolder, last: LastLife) -> Begun:
    """Discard the run that is there. It is owned before it goes, so that nobody goes on with it meanwhile."""
    if folder.exists:
        Epoch(folder, last.number + 1, DISCARDED, last.found.accepted if last.found else ()).close(None)
    if last.found is not None:
        folder.abort_uploads(last.found.uploads)
    folder.discard()
    folder.remove(partial_name(spec.append_row_file_name))
    return _claim_new(folder, LastLife(folder.latest_epoch(), None, None))


def _wait_until_gone(folder: RunFolder, number: int, tell: Callable[[Event], None]) -> None:
    beat = folder.read_beat(number)
    if beat is None or not is_over(beat):
        who = owner_text(beat)
        text = f"another run may be going on there ({who}); watching its heartbeat for up to {folder.lost_after:g} s"
        tell(Notice(time.time(), text))
        over = partial(folder.has_ended, number)
        if not stands_still(number, over, folder.lost_after, folder.beat_every / 2, folder.read_beat):
            raise OutputInUse(
                f"The output folder {folder.place!r} is in use by {owner_text(folder.read_beat(number))}."
                f" Wait for it, or end it: daskbatch cancel {folder.place}. Or choose another output folder."
            )


def _refuse_changes(spec: RunSpec, folder: RunFolder, last: LastLife, inputs: str, *, reuse: bool) -> None:
    assert last.record is not None
    killed = last.found is None or last.found.ended is None
    found = changes_since(last.record, folder, spec, inputs, reuse=reuse, killed=killed)
    changes = [str(change) for change in found]
    if not changes:
        return
    if last.record.identity.get("inputs") != inputs and spec.input.paths:
        from daskbatch.plan_inputs import difference_of_inputs

        if last.record.planned:
            folder.fetch_plan(last.record.plan_digest)
        changes += [f"  {line}" for line in difference_of_inputs(folder.plan, spec.input)]
    told = "\n".join(f"  {line}" for line in changes)
    kind = "a completed run" if last.completed else "an unfinished run"
    back = "to have its result" if last.completed else "to go on with it"
    error = RunChanged(
        f"The output folder {spec.output!r} holds {kind} that is not this one:\n{told}\n"
        f"Next: put that back and repeat the command, {back}; or add --fresh (fresh=True), which discards that run and"
        " begins anew; or choose another output folder."
    )
    error.changes = told
    raise error


def completed_summary(folder: RunFolder, run_id: str) -> dict[str, Any] | None:
    """The summary of the completed run, if its result is still there."""
    try:
        summary: dict[str, Any] = json.loads((folder.output / RUN_SUMMARY).read_text(encoding="utf-8"))
        output = summary["output"]
        if output is not None and not folder.is_result(output):
            return None
        return summary if (summary["status"], summary["run_id"]) == (COMPLETED, run_id) else None
    except (OSError, LookupError, TypeError, ValueError):
        return None
