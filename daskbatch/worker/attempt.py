"""One try of one mini-batch: read it, call ``run()``, format what it returned.

The runner, the serial way of running and ``try`` all go through here, so they cannot differ.
Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from daskbatch.errors import MiniBatchError, MultiLineText, ResultError, SchemaError
from daskbatch.failpoints import failpoint
from daskbatch.store.copy_names import CopyNames
from daskbatch.store.formats import Payload, format_result
from daskbatch.store.inputs_unchanged import refuse_changed
from daskbatch.types import OPEN_END, UNKNOWN_ITEMS, MiniBatch, TableFormat
from daskbatch.worker.entry import user_traceback
from daskbatch.worker.origins import Origins
from daskbatch.worker.script import Context, Script
from daskbatch.worker.wire import READ, RUN

if TYPE_CHECKING:
    from daskbatch.remote.copies import Copies, Copy

__all__ = ["ENDS", "Answer", "Attempts", "failure_of", "parts_of"]

ENDS = (SystemExit, KeyboardInterrupt, GeneratorExit)
"""What ends a process, where it is raised in user code. All else is an error of the user's."""

_LONGEST_MESSAGE = 20_000  # characters; an error may quote all of its input
_NOT_RETRIED = (ResultError, SchemaError, MultiLineText)
"""The same again would come of it: contract and schema errors cost one try."""


class Answer(NamedTuple):
    """What came of a try. At most one of `payload` and `failure` is there."""

    items: int
    """Items that went in, or `UNKNOWN_ITEMS`."""
    payload: Payload | None = None
    """The result; None with no failure either: the range held no record."""
    failure: dict[str, Any] | None = None
    seconds: float = 0.0
    """Inside ``run()``, formatting included."""
    ended: bool = False
    """Nothing more comes of the stream. Without a failure: it had ended before this mini-batch."""


class Attempts:
    """Tries mini-batches with one script.

    Parameters
    ----------
    script : Script
        ``init()`` has been called.
    table : TableFormat or None
        None: items are files.
    suffix, action : str
        Of the result; see `format_result`.
    enter : callable
        Told each phase that begins, with file, index and items: deadlines hang on it.
    origins : Origins, optional
        Tells where mini-batches come from.
    names : CopyNames, optional
        Tells which objects the paths stand for, where they are those of copies.
    copies : Copies, optional
        Makes the copies, where nobody else has: in the same process.
    """

    def __init__(
        self,
        script: Script,
        table: TableFormat | None,
        suffix: str,
        action: str,
        enter: Callable[..., None] = lambda *_: None,
        origins: Origins | None = None,
        names: CopyNames | None = None,
        copies: Copies | None = None,
    ) -> None:
        self._script = script
        self._suffix = suffix
        self._action = action
        self._enter = enter
        self._origins = origins or Origins()
        self._names = names or CopyNames()
        self._copies = copies
        self._copy: Copy | None = None
        self.reader: Any = None
        _import_libraries("" if table is None else table.format, suffix)
        if table is not None:
            from daskbatch.store import inputs

            self.reader = inputs.TableReader(table, self._names)
            self._to_frame = inputs.to_frame

    def read(self, batch: MiniBatch) -> Any:
        """Return what ``run()`` gets: paths or a DataFrame; None where there is no record.

        Raises
        ------
        MiniBatchError
            Where a file has changed since it was planned, is damaged, or does not fit the input's schema.
        MultiLineText
            Where newlines inside quotes were not allowed for.
        OSError
            Where a file has vanished or cannot be read.
        """
        if self._copies is not None:
            batch = self._copied(self._copies, batch)
        if self.reader is None:
            paths = batch.paths
            # A network disk that does not answer hangs here: the deadline for reading ends that.
            self._enter(READ, batch.file, batch.index, len(paths))
            refuse_changed(paths, batch.stamps)
            return list(paths)
        self._enter(READ, batch.file, batch.index)
        table = self.reader.read(batch)
        return None if table is None else self._to_frame(table)

    def close(self) -> None:
        """Let go of the file that is open. A runner need not: it ends."""
        if self.reader is not None:
            self.reader.close()
        if self._copies is not None:
            self._copies.close()

    def _copied(self, copies: Copies, batch: MiniBatch) -> MiniBatch:
        """The mini-batch with copies, which live until the next one's are made."""
        before, self._copy = self._copy, copies.make(batch)
        if before is not None:
            copies.drop(before)
        return self._copy.batch

    def run(self, batch: MiniBatch, value: Any, retry_count: int = 0) -> Any:
        """Call the user's ``run()``."""
        if not self._script.takes_context:
            return self._script.run(value, None)
        lower_bound = batch.row if batch.row >= 0 else None
        keys = self._origins.key_values(self._names.of(batch.paths[0]) if batch.paths else "")
        dataset = self._origins.dataset(batch)
        return self._script.run(value, Context(batch.name, keys, dataset, retry_count, lower_bound))

    def format(self, result: Any) -> Payload:
        """Turn what ``run()`` returned into bytes."""
        return format_result(result, self._suffix, self._action)

    def attempt(self, batch: MiniBatch, retry_count: int) -> Answer:
        """Try a mini-batch; an error becomes an answer.

        Raises
        ------
        StorageError
            Where copies are made here, and the store does not answer, or refuses.
        """
        items, phase = UNKNOWN_ITEMS, "read"
        try:
            failpoint("read.before")
            value = self.read(batch)
            failpoint("read.after")
            if value is None:
                return Answer(0, ended=batch.stop == OPEN_END)
            items, phase = len(value), "run"
            self._enter(RUN, batch.file, batch.index, items)
            began = time.perf_counter()
            failpoint("run.before")
            result = self.run(batch, value, retry_count)
            failpoint("run.after")
            payload = self.format(result)
            return Answer(items, payload, None, time.perf_counter() - began)
        except ENDS:
            raise
        except BaseException as error:  # a panic of a library in Rust is no Exception
            if self._copies is not None and phase == "read" and self._copies.stops(error):
                raise
            failure = failure_of(error, phase, self._names)
            if isinstance(error, MiniBatchError) and error.items is not None:
                items = error.items
            # Nothing after this place of a stream can be read either: the rest of it fails as one.
            whole_stream = batch.stop == OPEN_END and batch.start == 0
            failure["rest"] = phase == "read" and whole_stream and not isinstance(error, SchemaError)
            return Answer(items, failure=failure, ended=failure["rest"])


def _import_libraries(form: str, suffix: str) -> None:
    """What the first mini-batch needs: an import is no part of its time, nor of its deadline."""
    needed = {
        "pandas": bool(form),
        "pyarrow.parquet": form == "parquet",
        "daskbatch.store.tables": bool(form) or suffix == ".parquet",
    }
    for name, is_needed in needed.items():
        if is_needed:
            import_module(name)


def failure_of(error: BaseException, phase: str, names: CopyNames | None = None) -> dict[str, Any]:
    """An error as the engine is told of it, with the objects' names in the place of their copies'."""
    within = (names or CopyNames()).within
    return {
        "phase": phase,
        "error": type(error).__name__,
        "message": within(_message(error)),
        "traceback": within(user_traceback(error)),
        "retry": not isinstance(error, _NOT_RETRIED),
    }


def _message(error: BaseException) -> str:
    """What the error says, as far as it can be said."""
    try:
        text = str(error)
    except Exception as second:
        return f"<its str() raised {type(second).__name__}>"
    left_out = len(text) - _LONGEST_MESSAGE
    return text if left_out <= 0 else f"{text[:_LONGEST_MESSAGE]} ... {left_out} characters left out"


def parts_of(batch: MiniBatch) -> Iterable[MiniBatch]:
    """The single mini-batches of a descriptor: itself, or those of a stream from its index on."""
    if batch.stop != OPEN_END:
        return (batch,)
    indexes = range(batch.index, batch.index + batch.start) if batch.start else count(batch.index)
    return (batch._replace(index=index) for index in indexes)
