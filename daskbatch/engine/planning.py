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
from daskbatch.errors import ScriptChanged
from daskbatch.failpoints import failpoint
from daskbatch.options.identity import differences, identity_of
from daskbatch.options.named_paths import named_files
from daskbatch.options.restore import stored_options
from daskbatch.plan import make_plan, read_plan
from daskbatch.plan_inputs import state_of_inputs
from daskbatch.plan_record import Plan, plan_from_json
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
    if collection is None:
        plan = _make_plan(spec, folder, displaced)
        assert plan.inputs is not None
        inputs = plan.inputs.digest
    else:
        plan = _plan_of_collection(collection, spec.input)
        inputs = _identity(collection)
    failpoint("plan.after")
    record = RunRecord(
        run_id=run_id,
        created=dt.datetime.now().astimezone().isoformat(timespec="seconds"),
        identity=identity_of(copied, inputs) | {ARGUMENT_FILES: named_files(spec)},
        options=stored_options(spec),
        plan=plan.as_json(),
        plan_digest=_digest(folder.plan),
        source=_name_of_copy(copied),
    )
    _confirm(displaced)
    folder.keep_plan(record.plan_digest)
    folder.write_record(record)
    return _prepared(copied, plan, record)


def planned_before(
    spec: RunSpec, folder: RunFolder, record: RunRecord, displaced: Callable[[], Stop | None]
) -> Prepared:
    """The plan as an earlier engine made it: the options and the input are the same. Otherwise as `plan_run`."""
    copied = _with_copy(spec, folder)
    if record.source != _name_of_copy(copied):
        raise ScriptChanged(
            f"source_directory {spec.entry.source_directory!r} was changed in the moment in which the run was taken up."
            " Next: repeat the command."
        )
    folder.fetch_plan(record.plan_digest)
    plan = dataclasses.replace(plan_from_json(record.plan, folder.plan), storage=spec.input.storage_options)
    if plan.format == "arrow":
        plan = dataclasses.replace(plan, path=Path(os.devnull))
    elif not folder.plan.is_file() or _digest(folder.plan) != record.plan_digest:
        plan = _make_plan(spec, folder, displaced)  # it was damaged; the same input gives the same plan
    inputs = record.identity["inputs"]
    changed = differences(record.identity, copied, inputs, reuse=True)
    now = dataclasses.replace(
        record,
        options=stored_options(spec),
        # The result will be that of the rules by which the run is completed.
        identity=(identity_of(copied, inputs) if changed else dict(record.identity))
        | {ARGUMENT_FILES: record.identity.get(ARGUMENT_FILES, {})},
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


def _make_plan(spec: RunSpec, folder: RunFolder, displaced: Callable[[], Stop | None]) -> Plan:
    """Plan the input. An engine that wakes in the middle of it must not write to the plan of who has taken over."""
    part = folder.state / f"plan-{secrets.token_hex(4)}.tmp"
    part.touch(mode=0o600)
    try:
        plan = make_plan(spec.input, part)
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


def _prepared(copied: RunSpec, plan: Plan, record: RunRecord) -> Prepared:
    entry = copied.entry
    digest = None if entry.script is None else record.identity["entry"]["digest"]
    return Prepared(plan, entry.source_directory, entry.script, digest)


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
