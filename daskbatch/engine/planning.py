"""The plan of a run: made, recorded, and read back by whoever goes on with it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from daskbatch.engine.folder import RunFolder
from daskbatch.engine.record import ARGUMENT_FILES, RunRecord
from daskbatch.engine.stop import Stop
from daskbatch.errors import RunChanged, ScriptChanged
from daskbatch.failpoints import failpoint
from daskbatch.options.identity import differences, identity_of
from daskbatch.options.named_paths import named_files
from daskbatch.options.restore import stored_options
from daskbatch.plan import make_plan, read_plan
from daskbatch.plan_inputs import InputChanged, state_of_inputs
from daskbatch.plan_record import Plan, plan_from_json
from daskbatch.plan_stream import PlanStream, is_streamed
from daskbatch.spec import InputSpec, RunSpec
from daskbatch.types import OPEN_END, MiniBatch, MiniBatchSize, TableFormat

__all__ = ["Prepared", "digest_of_inputs", "plan_run", "planned_before"]

_DEFAULT_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, and the code that goes with it."""

    plan: Plan
    source: str | None
    """The copy of the source directory, which stands for it."""
    script: str | None
    """The entry script, in that copy where there is one."""
    script_digest: str | None
    """SHA-256 that the script must have in every process that loads it; None for an object."""
    stream: PlanStream | None = None
    """What makes the plan while the run is at work already; None: the plan is whole."""

    def mini_batches(self) -> Iterator[MiniBatch]:
        """All of the plan, in order, read as they are asked for."""
        if self.plan.format != "arrow":
            return read_plan(self.plan)
        return (MiniBatch(number, 0, (), stop=OPEN_END) for number in range(self.plan.files))


def digest_of_inputs(spec: RunSpec, collection: Any) -> Callable[[], str]:
    """What gives the input's digest, worked out once and only if somebody asks: a new run's plan has it anyway."""

    @cache
    def digest() -> str:
        return state_of_inputs(spec.input).digest if collection is None else _identity(collection)

    return digest


def plan_run(
    spec: RunSpec, folder: RunFolder, run_id: str, collection: Any, displaced: Callable[[], Stop | None]
) -> Prepared:
    """Copy the source directory, plan the input, and record both.

    Parameters
    ----------
    displaced : callable
        Asked before anything is written that another engine may have written meanwhile.

    Raises
    ------
    TakenOver
        The run is another engine's by now.
    """
    failpoint("plan.before")
    copied = _with_copy(spec, folder)
    now = dt.datetime.now().astimezone().isoformat(timespec="seconds")

    def record_of(plan: Plan, inputs: str, digest: str) -> RunRecord:
        identity = identity_of(copied, inputs) | {ARGUMENT_FILES: named_files(spec)}
        return RunRecord(run_id, now, identity, stored_options(spec), plan.as_json(), digest, _name_of_copy(copied))

    streamed = None
    if collection is not None:
        plan = _plan_of_collection(collection, spec.input)
    elif spec.compute.type != "serial" and is_streamed(spec.input):
        streamed = _Streamed(spec, folder, record_of, displaced)
        plan = streamed.begin()
    else:
        plan = _make_plan(spec, folder, displaced)
    failpoint("plan.after")
    if streamed is not None and streamed.record is not None:
        return _prepared(copied, plan, streamed.record, streamed.stream)
    assert collection is not None or plan.inputs is not None
    inputs = plan.inputs.digest if plan.inputs is not None else _identity(collection)
    record = record_of(plan, inputs, _digest(folder.plan))
    _confirm(displaced)
    folder.keep_plan(record.plan_digest)
    folder.write_record(record)
    return _prepared(copied, plan, record)


class _Streamed:
    """Plan a new run's input by a `PlanStream`. The run is recorded twice: when its work begins, and at the end.

    Parameters
    ----------
    record_of : callable
        Gives the record of a plan, the input's digest and that of the plan file.
    displaced : callable
        As for `plan_run`.
    """

    def __init__(
        self,
        spec: RunSpec,
        folder: RunFolder,
        record_of: Callable[[Plan, str, str], RunRecord],
        displaced: Callable[[], Stop | None],
    ) -> None:
        self._folder = folder
        self._record_of = record_of
        self._displaced = displaced
        self._part = folder.state / f"plan-{secrets.token_hex(4)}.tmp"
        self.stream = PlanStream(spec.input, self._part, self._finish)
        self.record: RunRecord | None = None
        """What was recorded; None: the input was listed before that, and nothing is recorded yet."""

    def begin(self) -> Plan:
        """The plan, whole or as far as it is known."""
        self._part.touch(mode=0o600)
        try:
            plan = self.stream.begin(self._begin)
        except BaseException:
            self.stream.close()
            self._part.unlink(missing_ok=True)
            _confirm(self._displaced)  # an error of planning may come of that
            raise
        if self.record is not None:
            return plan
        _confirm(self._displaced)
        self._part.replace(self._folder.plan)
        return dataclasses.replace(plan, path=self._folder.plan)

    def _begin(self, plan: Plan) -> None:
        _confirm(self._displaced)
        self._part.replace(self._folder.plan)  # what lists goes on writing to it
        self.stream.path = self._folder.plan
        self.record = self._record_of(plan, "", "")
        self._folder.write_record(self.record)

    def _finish(self, plan: Plan) -> Plan:
        if self.record is None:
            return plan
        assert plan.inputs is not None
        record = dataclasses.replace(
            self.record,
            identity={**self.record.identity, "inputs": plan.inputs.digest},
            plan=plan.as_json(),
            plan_digest=_digest(self._folder.plan),
        )
        _confirm(self._displaced)
        self._folder.keep_plan(record.plan_digest)
        self._folder.write_record(record)
        return dataclasses.replace(plan, path=self._folder.plan)


def planned_before(
    spec: RunSpec,
    folder: RunFolder,
    record: RunRecord,
    displaced: Callable[[], Stop | None],
    listed: tuple[int, str] | None = None,
) -> Prepared:
    """The plan as an earlier engine made it: the options and the input are the same. Otherwise as `plan_run`.

    Parameters
    ----------
    listed : (files, digest) or None
        How far that engine had listed an input, where it was ended before it had planned all of it.

    Raises
    ------
    RunChanged
        What it had listed is not the same now.
    """
    copied = _with_copy(spec, folder)
    if record.source != _name_of_copy(copied):
        raise ScriptChanged(
            f"source_directory {spec.entry.source_directory!r} was changed in the moment in which the run was taken up."
            " Next: repeat the command."
        )
    known = record
    if record.planned:
        folder.fetch_plan(record.plan_digest)
        plan = dataclasses.replace(plan_from_json(record.plan, folder.plan), storage=spec.input.storage_options)
        if plan.format == "arrow":
            plan = dataclasses.replace(plan, path=Path(os.devnull))
        elif not folder.plan.is_file() or _digest(folder.plan) != record.plan_digest:
            plan = _make_plan(spec, folder, displaced)  # it was damaged; the same input gives the same plan
    else:
        plan = _make_plan(spec, folder, displaced, listed)
        assert plan.inputs is not None
        identity = {**record.identity, "inputs": plan.inputs.digest}
        digest = _digest(folder.plan)
        folder.keep_plan(digest)
        known = dataclasses.replace(record, identity=identity, plan=plan.as_json(), plan_digest=digest)
    inputs = known.identity["inputs"]
    changed = differences(known.identity, copied, inputs, reuse=True)
    now = dataclasses.replace(
        known,
        options=stored_options(spec),
        # The result will be that of the rules by which the run is completed.
        identity=(identity_of(copied, inputs) if changed else dict(known.identity))
        | {ARGUMENT_FILES: known.identity.get(ARGUMENT_FILES, {})},
    )
    if now != record and displaced() is None:
        folder.write_record(now)
    return _prepared(copied, plan, now)


def _with_copy(spec: RunSpec, folder: RunFolder) -> RunSpec:
    """The run as it is with the copy of its source directory: what is recorded is what runs, whatever is saved now."""
    entry = spec.entry
    if entry.source_directory is None:
        return spec
    copy = folder.snapshot(entry.source_directory, entry.script)
    script = None if entry.script is None else str(copy / os.path.relpath(entry.script, entry.source_directory))
    return dataclasses.replace(spec, entry=dataclasses.replace(entry, source_directory=str(copy), script=script))


def _name_of_copy(copied: RunSpec) -> str | None:
    source = copied.entry.source_directory
    return None if source is None else os.path.basename(source)


def _make_plan(
    spec: RunSpec, folder: RunFolder, displaced: Callable[[], Stop | None], listed: tuple[int, str] | None = None
) -> Plan:
    """Plan the input. An engine that wakes in the middle of it must not write to the plan of who has taken over."""
    part = folder.state / f"plan-{secrets.token_hex(4)}.tmp"
    part.touch(mode=0o600)
    try:
        plan = make_plan(spec.input, part, listed)
    except InputChanged as error:
        raise RunChanged(
            f"The output folder {spec.output!r} holds an unfinished run that is not this one: {error}. Next: put that"
            " back and repeat the command, to go on with it; or add --fresh (fresh=True), which discards that run and"
            " begins anew; or choose another output folder."
        ) from error
    finally:
        _confirm(displaced)  # an error of planning may come of that
    part.replace(folder.plan)
    return dataclasses.replace(plan, path=folder.plan)


def _confirm(displaced: Callable[[], Stop | None]) -> None:
    taken = displaced()
    if taken is not None:
        raise taken.error(taken.message)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _prepared(copied: RunSpec, plan: Plan, record: RunRecord, stream: PlanStream | None = None) -> Prepared:
    entry = copied.entry
    digest = None if entry.script is None else record.identity["entry"]["digest"]
    return Prepared(plan, entry.source_directory, entry.script, digest, stream)


def _identity(collection: Any) -> str:
    from dask.base import tokenize

    return f"dask {tokenize(collection)}"


def _plan_of_collection(collection: Any, given: InputSpec) -> Plan:
    """A plan for a Dask dataframe: each partition is a stream, cut when it is there."""
    count = collection.npartitions
    size = given.mini_batch_size or MiniBatchSize("bytes", _DEFAULT_BYTES)
    if size.kind == "files":
        size = MiniBatchSize("bytes", size.value)
    return Plan(
        path=Path(os.devnull),
        format="arrow",
        table=TableFormat("arrow", size),
        size=size,
        files=count,
        mini_batches=None,
        estimate=count,
        input_bytes=0,
        description=f"a Dask dataframe of {count} partitions, mini-batches of {size.value} {size.kind}",
        skipped=(),
        datasets=tuple((name, count) for name, _ in given.datasets),
    )
