"""Run everything in this process, one mini-batch after the other.

The oracle: what it writes is right by definition, and every other way of running must equal it byte for
byte. It keeps the same books and writes the same segments; nothing can be killed here, so timeouts and memory
limits do not hold.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskbatch.engine.books import Books
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.own_modules import modules_of_its_own
from daskbatch.engine.planning import Prepared
from daskbatch.engine.stop import Stop
from daskbatch.errors import DaskbatchError, InitFailed
from daskbatch.layout import MODELS_USED_VARIABLE
from daskbatch.plan_copies import copies_in_process
from daskbatch.spec import RunSpec
from daskbatch.store.formats import suffix_of
from daskbatch.store.segments import Writer
from daskbatch.types import UNKNOWN_ITEMS, MiniBatch, Record
from daskbatch.worker import tensorflow1
from daskbatch.worker.attempt import Answer, Attempts, failure_of, parts_of
from daskbatch.worker.entry import configure, put_back_after
from daskbatch.worker.fetched import told, with_files
from daskbatch.worker.models import model_variables
from daskbatch.worker.origins import Origins
from daskbatch.worker.script import Script, load_object, load_script
from daskbatch.worker.shim import shim_for_scripts
from daskbatch.worker.step_variables import step_variables
from daskbatch.worker.task_report import TaskReport

if TYPE_CHECKING:
    from daskbatch.engine.run import _Run

__all__ = ["own_script", "progress_of", "run_serially"]

_PROGRESS_EVERY = 0.5
_NODE, _PROCESS = "serial", "process000"


def run_serially(
    spec: RunSpec,
    prepared: Prepared,
    folder: RunFolder,
    books: Books,
    batches: Iterator[MiniBatch],
    work: Callable[[], None],
) -> None:
    """Try all mini-batches in order, retries at once.

    Parameters
    ----------
    spec : RunSpec
    prepared : Prepared
    folder : RunFolder
    books : Books
    batches : iterator of MiniBatch
    work : callable
        Called after each mini-batch, for progress.
    """
    with own_script(spec, prepared.source, prepared.script_digest, folder) as script:
        try:
            script.init()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            failure = _exited(error, "init", "start") if isinstance(error, SystemExit) else failure_of(error, "start")
            why = f"init() failed ({failure['error']}: {failure['message']})"
            books.stop = Stop(InitFailed, why, failure["traceback"])
            return
        suffix, origins = suffix_of(spec.append_row_file_name), Origins(**prepared.plan.origins())
        table = prepared.plan.table
        copies, names = copies_in_process(spec.input.paths, table, spec.input.storage_options)
        attempts = Attempts(script, table, suffix, spec.output_action, origins=origins, names=names, copies=copies)
        writer = folder.writer("serial")
        try:
            for batch in batches:
                if books.stop is not None:
                    break
                if books.watching_first:
                    books.expect(batch)
                for part in parts_of(batch):
                    if books.stop is not None:
                        break
                    if not _until_settled(
                        attempts, part, books, writer, partial(folder.keep_files, spec.script_folder)
                    ):
                        if batch.start == 0 and books.stop is None:
                            books.end_stream(batch)
                        break
                    work()
        finally:
            attempts.close()
            writer.close()
            _shut_down(script)


def progress_of(run: _Run) -> Callable[[], None]:
    """What tells a run's progress now and then, called after each mini-batch."""
    began = told = time.monotonic()

    def progress() -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _PROGRESS_EVERY:
            told = now
            exact = run.prepared.plan.mini_batches is not None
            run.tell(run.books.progress(now - began, run.estimate, exact, 1))

    return progress


def _shut_down(script: Script) -> None:
    """As in a runner: an error in ``shutdown()`` is shown and changes nothing, for all results are there."""
    try:
        script.shutdown()
    except (Exception, SystemExit):
        traceback.print_exc()


def _exited(error: SystemExit, hook: str, phase: str) -> dict[str, Any]:
    """The failure that ``sys.exit()`` is: in a runner it ends the process."""
    exited = ChildProcessError(f"{hook}() ended the process: exit status {error.code!r}")
    return {**failure_of(exited.with_traceback(error.__traceback__), phase), "error": "ExitedEarly"}


def _until_settled(
    attempts: Attempts, batch: MiniBatch, books: Books, writer: Writer, keep_files: Callable[[], None]
) -> bool:
    """Try a mini-batch until it has succeeded or is given up. False: its stream has ended."""
    due = deque([batch])
    while due and books.stop is None:
        due.popleft()
        try:
            answer = attempts.attempt(batch, books.retries_of([batch]).get(batch.key, 0))
        except SystemExit as error:
            answer = Answer(UNKNOWN_ITEMS, failure=_exited(error, "run", "run"))
        if answer.ended and answer.failure is None:
            return False
        report = TaskReport(_NODE, _PROCESS)
        report.whole = True
        if answer.payload is not None:
            data, returned, rows, columns = answer.payload
            writer.append(Record(*batch.key, answer.items, returned, rows, 0, 0, 0, answer.seconds), data, columns)
            report.succeed(*batch.key, answer.items, returned, answer.seconds)
        elif answer.failure is not None:
            items = None if answer.items == UNKNOWN_ITEMS else answer.items
            report.fail({"key": batch.key, "items": items, **answer.failure})
        else:
            writer.append(Record(*batch.key, 0, 0, 0, 0, 0, 0, 0.0), b"", "")
            report.empty.append(batch.key)
            report.last = batch.key
        keep_files()
        due.extend(books.enter([batch], report.as_dict(writer.commit()), in_parts=True))
    return not answer.ended


@contextmanager
def own_script(
    spec: RunSpec, source: str | None, digest: str | None = None, place: RunFolder | None = None
) -> Iterator[Script]:
    """The user's script, loaded into this process; what it changes of the interpreter is put back.

    Parameters
    ----------
    place : RunFolder, optional
        Of the run; None: nothing of it is kept.
    """
    place = place or RunFolder(Path(spec.output))
    argv, path, environment, folder = sys.argv[:], sys.path[:], dict(os.environ), Path.cwd()
    logs = place.logs / "user"
    written = spec.script_folder if place.script_files is None else str(place.script_files)
    if place.script_files is not None:
        place.script_files.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = {**dict(spec.environment_variables), MODELS_USED_VARIABLE: str(place.models)}
    with contextlib.ExitStack() as stack:
        try:
            paths, more = stack.enter_context(with_files(spec.fetched, given, spec.read_timeout))
        except (DaskbatchError, OSError) as error:
            raise InitFailed(f"what the script is told of a store cannot be fetched: {error}") from error
        stack.callback(_put_back, argv, path, environment, folder)
        stack.enter_context(put_back_after())
        if os.path.isdir(spec.folder):  # as in a runner: a run that is resumed from elsewhere finds its files
            os.chdir(spec.folder)
        own = {name: told(value, paths) for name, value in given.items()} | more
        ours = {**step_variables(spec.output, own), "AZUREML_BI_OUTPUT_PATH": written}
        os.environ.update({**model_variables(own), **os.environ, **ours, **own})
        arguments = [told(text, paths) for text in spec.arguments]
        configure(
            output_dir=written,
            log_dir=str(logs),
            working_dir=str(Path.cwd()),
            agent_name=f"{_NODE}/{_PROCESS}",
            logging_level=spec.logging_level,
        )
        if spec.tensorflow1:
            tensorflow1.install()
        with shim_for_scripts():
            if spec.entry.pickled is not None:
                import cloudpickle

                yield load_object(cloudpickle.loads(spec.entry.pickled), arguments)
            else:
                assert spec.entry.script is not None
                places = (os.path.dirname(spec.entry.script), source, spec.entry.source_directory)
                with modules_of_its_own([place for place in places if place is not None]):
                    yield load_script(spec.entry.script, arguments, source, digest)


def _put_back(argv: list[str], path: list[str], environment: dict[str, str], folder: Path) -> None:
    tensorflow1.uninstall()
    sys.argv, sys.path[:] = argv, path
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
