"""One slot: runs a row of mini-batches in its runner and keeps what comes back."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from daskbatch.errors import RunFailed
from daskbatch.failpoints import failpoint
from daskbatch.remote.errors import StorageError
from daskbatch.store.refusal import refusal
from daskbatch.store.segments import Writer
from daskbatch.types import OPEN_END, UNKNOWN_ITEMS, MiniBatch, Record
from daskbatch.worker import wire
from daskbatch.worker.attempt import failure_of
from daskbatch.worker.deaths import describe_death, user_stack, was_killed
from daskbatch.worker.garbage import author_of_garbage
from daskbatch.worker.news import News
from daskbatch.worker.runner import Launch, Runner, RunnerDied
from daskbatch.worker.task_report import TaskReport
from daskbatch.worker.wire import NotAFrame

if TYPE_CHECKING:
    from daskbatch.remote.uploads import Uploads
    from daskbatch.worker.ahead import Ahead, Lot
    from daskbatch.worker.walltime import Walltime

__all__ = ["Slot"]

_KILLED_TOGETHER = 1.0  # seconds

Tell = Callable[[dict[str, Any]], None]


class Slot:
    """A place on a node where one ``run()`` can be going on.

    Parameters
    ----------
    node : str
        Host name, for logs.
    process : str
        Name of the slot on its node, such as ``"process000"``; it outlives its runners.
    launch : Launch
        How its runners are started.
    writer : Writer
        Where its results go.
    tell : callable
        Takes one dict that is for the engine at once.
    ahead : Ahead, optional
        Makes local copies of mini-batches whose input lies in a store.
    files : Uploads, optional
        Puts what the script writes itself to a store: it is there before the results count.
    walltime : Walltime, optional
        When the worker's job ends, where that is known.
    """

    def __init__(
        self,
        node: str,
        process: str,
        launch: Launch,
        writer: Writer,
        tell: Tell,
        ahead: Ahead | None = None,
        files: Uploads | None = None,
        walltime: Walltime | None = None,
    ) -> None:
        self.node = node
        self.process = process
        self.launch = launch
        self._writer = writer
        self._tell = tell
        self._ahead = ahead
        self._files = files
        self._walltime = walltime
        self._runner: Runner | None = None
        self._signatures: dict[int, str] = {}
        self._stopping = False
        self._cut = False
        self._terminated = 0
        self._ready_since = 0.0

    def execute(self, task: int, row: bytes, blob: bytes | memoryview = b"", quiet: float = 0.0) -> dict[str, Any]:
        """Run a row.

        Parameters
        ----------
        task : int
            The engine's number of it.
        row : bytes
            From `wire.encode_row`.
        blob : bytes-like
            A Dask partition as an Arrow stream.
        quiet : float
            Seconds; see `News`.

        Returns
        -------
        dict
            The report: ``chunk`` (fields of the committed `Chunk`, or None), ``last`` (key of the last mini-batch
            that was answered, or None), ``whole`` (the row is done), ``failures``, ``empty`` (keys), counts, and
            ``init_error``, ``died`` or ``refused`` where the runner did not start or did not survive, or where its
            results could not be written.
        """
        try:
            return self._execute(task, row, blob, quiet)
        except BaseException as error:
            # What was half written, or has still to come of this row, must not reach the next one.
            self._writer.abandon()
            self._drop_runner()
            if not isinstance(error, (OSError, StorageError, RunFailed)):
                raise
            report = TaskReport(self.node, self.process)
            # Raised, Dask would log it with a traceback.
            report.refused = refusal(error) if isinstance(error, OSError) else str(error)
            return report.as_dict()

    def _execute(self, task: int, row: bytes, blob: bytes | memoryview, quiet: float) -> dict[str, Any]:
        report = TaskReport(self.node, self.process)
        if self._stopping:
            return report.as_dict(None, 0.0)
        began = time.monotonic()
        runner, sent = None, row
        try:
            runner = self._ready_runner(report)
            report.start_seconds = time.monotonic() - began
            if runner is not None:
                news = News(report, task, self._tell, quiet)
                with contextlib.closing(self._rows(task, row, report)) as rows:
                    for sent in rows:
                        runner.send_row(sent, blob)
                        if self._stopping:
                            runner.request_stop()
                        self._collect(runner, report, news)
        except RunnerDied as died:
            self._runner = None
            self._account_for(died.verdict, report)
        except NotAFrame:
            verdict = self._drop_runner()
            author = {"phase": "start"} if runner is None else author_of_garbage(sent, report, verdict)
            self._account_for({**verdict, **author, "reason": "garbage"}, report)
        if self._files is not None:
            self._files.send()
        chunk = self._writer.commit()
        failpoint("report.before")
        return report.as_dict(chunk, time.monotonic() - began)

    def _rows(self, task: int, row: bytes, report: TaskReport) -> Generator[bytes, None, None]:
        """What the runner is sent: the row as it is, or parts of it as soon as their copies are there."""
        if self._ahead is None:
            yield row
            return
        batches, budget, retries = wire.decode_row(row)
        deadline = time.monotonic() + budget
        try:
            with contextlib.closing(self._ahead.row(task, batches)) as lots:
                for lot in lots:
                    for part in self._parts(lot, report):
                        left = deadline - time.monotonic()
                        if self._stopping or (left < 0 and report.done):
                            report.whole = False
                            return
                        again = {batch.key: retries[batch.key] for batch in part if batch.key in retries}
                        report.whole = False  # until the runner says so of this part too: it may die of it
                        yield wire.encode_row(part, left, again)
                        if not report.whole:
                            return
            report.whole = not self._stopping
        except (OSError, StorageError) as error:
            # What is done counts. Raised, Dask would log it with a traceback.
            report.whole = False
            report.refused = refusal(error) if isinstance(error, OSError) else str(error)

    def _parts(self, lot: Lot, report: TaskReport) -> Iterator[list[MiniBatch]]:
        """Mini-batches in a row that have copies. Those that have none fail in their turn."""
        part: list[MiniBatch] = []
        for batch, found in lot:
            if isinstance(found, MiniBatch):
                part.append(found)
                continue
            if part:
                yield part
                part = []
            failure = failure_of(found, "read") | {"rest": batch.stop == OPEN_END and batch.start == 0}
            self._fail(report, *batch.key, None if batch.stop else len(batch.paths), failure)
        if part:
            yield part

    def _ready_runner(self, report: TaskReport) -> Runner | None:
        """The slot's runner, started if there is none. None: ``init()`` failed, see the report."""
        if self._runner is not None:
            return self._runner
        self._signatures = {}
        self._runner = runner = Runner(self.launch)
        if self._stopping:
            runner.kill()
        for frame in runner.frames():
            if frame.kind == wire.READY:
                seconds = frame.json()["init_seconds"]
                self._ready_since = self._ready_since or time.monotonic()
                self._tell({"started": runner.pid, "node": self.node, "process": self.process, "seconds": seconds})
                return runner
            report.init_error = frame.json()
            runner.kill()  # a thread that init() has started may keep the process alive
            with contextlib.suppress(RunnerDied):
                for _ in runner.frames():
                    pass
            self._runner = None
            return None
        raise AssertionError("frames() ends by RunnerDied alone")

    def _drop_runner(self) -> dict[str, Any]:
        """Kill the runner, whatever it has still to say."""
        runner, self._runner = self._runner, None
        if runner is None:
            return {}
        runner.kill()
        return runner.bury()

    def _collect(self, runner: Runner, report: TaskReport, news: News) -> None:
        append = self._writer.append
        for kind, file, index, items, returned, rows, columns, crc, seconds, payload in runner.frames(news.due):
            if kind == wire.RESULT:
                record = Record(file, index, items, returned, rows, 0, len(payload), crc, seconds)
                append(record, payload, self._signatures[columns])
                report.succeed(file, index, items, returned, seconds)
                if self._walltime is not None:
                    self._walltime.learn(seconds)
            elif kind == wire.COLUMNS:
                self._signatures[columns] = payload.decode()
            elif kind == wire.EMPTY:
                append(Record(file, index, 0, 0, 0, 0, 0, 0, 0.0), b"", "")
                report.empty.append((file, index))
                report.last = (file, index)
            elif kind == wire.FAILED:
                self._fail(report, file, index, _known(items), json.loads(payload))
            elif kind == wire.END:
                report.whole = json.loads(payload)["whole"]
                return

    def _fail(self, report: TaskReport, file: int, index: int, items: int | None, failure: dict[str, Any]) -> None:
        entry = {"key": (file, index), "items": items, "node": self.node, "process": self.process, **failure}
        report.fail(entry)

    def _account_for(self, verdict: dict[str, Any], report: TaskReport) -> None:
        """A runner died: blame the mini-batch under way, or ``init()``, or nobody."""
        if self._walltime is not None and was_killed(verdict):
            # Who ends a whole job kills this process too: then nobody is to blame, and nothing is told.
            time.sleep(_KILLED_TOGETHER)
        error, message = describe_death(verdict)
        failure = {
            "phase": verdict["phase"],
            "error": error,
            "message": message,
            "traceback": user_stack(verdict["stack"], self.launch.package_root),
            "retry": True,
            # Who comes later would have to read past the same place of a stream.
            "rest": verdict["phase"] == "read",
        }
        reason = verdict["reason"]
        self._terminated += reason == "terminated"
        if self._cut and reason == "asked" and self._walltime is not None:
            self._account_for_cut(verdict, failure, self._walltime, report)
        elif reason == "orphaned" and verdict["phase"] == "start":
            # Given back, it would be tried for ever: from there this worker, which lives, is never seen.
            report.init_error = {**failure, "message": self.launch.out_of_sight}
        elif reason in ("asked", "orphaned") or (reason == "terminated" and self._terminated == 1):
            # Somebody outside wants the processes gone. Again and again, and it is the script itself.
            report.died = {**failure, "charged": False}
        elif verdict["phase"] == "start":
            report.init_error = {**failure, "killed": was_killed(verdict)}
        else:
            report.died = {**failure, "charged": True}
            key = (verdict["file"], verdict["index"])
            if verdict["phase"] in ("read", "run") and key != report.last:
                self._fail(report, *key, _known(verdict["items"]), failure)

    def _account_for_cut(
        self, verdict: dict[str, Any], failure: dict[str, Any], walltime: Walltime, report: TaskReport
    ) -> None:
        """The end of the job has cut a mini-batch: it is tried in another job, if it can fit into one."""
        seconds, whole = verdict["seconds"], walltime.whole
        report.died = {**failure, "charged": False}
        if verdict["phase"] not in ("read", "run"):
            return
        key = (verdict["file"], verdict["index"])
        if not walltime.had_all(seconds, time.monotonic() - self._ready_since):
            report.cut = (*key, seconds)
            return
        text = (
            f"still {'reading' if verdict['phase'] == 'read' else 'in run()'} after {seconds:.0f} s, when its job ended"
            f" after {whole:.0f} s: it does not fit into a job's walltime. Next: a longer walltime, or a smaller"
            " mini_batch_size"
        )
        failure |= {"error": "WalltimeTooShort", "message": text, "traceback": "", "retry": False}
        self._fail(report, *key, _known(verdict["items"]), failure)

    def cut(self) -> None:
        """The worker's job ends now. Any thread."""
        self._cut = True
        self.kill()

    def stop(self) -> None:
        """End the present row after its present mini-batch, and start no other. Any thread."""
        self._stopping = True
        if self._ahead is not None:
            self._ahead.stop()
        runner = self._runner
        if runner is not None:
            runner.request_stop()

    def kill(self) -> None:
        """Kill the runner's whole tree. Any thread."""
        self._stopping = True
        if self._ahead is not None:
            self._ahead.stop()
        runner = self._runner
        if runner is not None:
            runner.kill()

    def finish(self) -> None:
        """Begin the end of an idle slot: ``shutdown()`` is called in its runner."""
        if self._runner is not None:
            self._runner.finish()

    def close(self) -> None:
        """Wait until the runner is gone and close the segment. Its supervisor stays until `let_go`."""
        with contextlib.ExitStack() as steps:  # each is taken, whatever becomes of the one before
            steps.callback(self._writer.close)
            if self._ahead is not None:
                steps.callback(self._ahead.close)
            if self._runner is not None:
                self._runner.wait()

    def let_go(self) -> None:
        """Nothing is left that the supervisor would have to look after."""
        if self._runner is not None:
            self._runner.let_go()
            self._runner = None


def _known(items: int) -> int | None:
    return None if items == UNKNOWN_ITEMS else items
