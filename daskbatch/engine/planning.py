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
from daskbatch.engine.record import RunRecord
from daskbatch.engine.stop import Stop
from daskbatch.failpoints import failpoint
from daskbatch.options.identity import differences, identity_of
from daskbatch.options.restore import stored_options
from daskbatch.plan import make_plan, read_plan
from daskbatch.plan_inputs import state_of_inputs
from daskbatch.plan_record import Plan, plan_from_json
from daskbatch.spec import RunSpec
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
    entry = spec.entry
    source = None if entry.source_directory is None else folder.snapshot(entry.source_directory)
    if collection is None:
        plan = _make_plan(spec, folder, displaced)
        assert plan.inputs is not None
        inputs = plan.inputs.digest
    else:
        plan = _plan_of_collection(collection, spec.input.mini_batch_size)
        inputs = _identity(collection)
    failpoint("plan.after")
    record = RunRecord(
        run_id=run_id,
        created=dt.datetime.now().astimezone().isoformat(timespec="seconds"),
        identity=identity_of(spec, inputs),
        options=stored_options(spec),
        plan=plan.as_json(),
        plan_digest=_digest(folder.plan),
        source=None if source is None else source.name,
    )
    _confirm(displaced)
    record.write(folder.record)
    return _prepared(spec, plan, source, record)


def planned_before(
    spec: RunSpec, folder: RunFolder, record: RunRecord, displaced: Callable[[], Stop | None]
) -> Prepared:
    """The plan as an earlier engine made it: the options and the input are the same. Otherwise as `plan_run`."""
    source = None if spec.entry.source_directory is None else folder.snapshot(spec.entry.source_directory)
    plan = plan_from_json(record.plan, folder.plan)
    if plan.format == "arrow":
        plan = dataclasses.replace(plan, path=Path(os.devnull))
    elif not folder.plan.is_file() or _digest(folder.plan) != record.plan_digest:
        plan = _make_plan(spec, folder, displaced)  # it was damaged; the same input gives the same plan
    inputs = record.identity["inputs"]
    changed = differences(record.identity, spec, inputs, reuse=True)
    now = dataclasses.replace(
        record,
        options=stored_options(spec),
        source=None if source is None else source.name,
        # The result will be that of the rules by which the run is completed.
        identity=identity_of(spec, inputs) if changed else record.identity,
    )
    if now != record and displaced() is None:
        now.write(folder.record)
    return _prepared(spec, plan, source, now)


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


def _prepared(spec: RunSpec, plan: Plan, source: Path | None, record: RunRecord) -> Prepared:
    entry = spec.entry
    digest = None if entry.script is None else record.identity["entry"]["digest"]
    if source is None or entry.script is None or entry.source_directory is None:
        return Prepared(plan, None if source is None else str(source), entry.script, digest)
    return Prepared(plan, str(source), str(source / os.path.relpath(entry.script, entry.source_directory)), digest)


def _identity(collection: Any) -> str:
    from dask.base import tokenize

    return f"dask {tokenize(collection)}"


def _plan_of_collection(collection: Any, size: MiniBatchSize | None) -> Plan:
    """A plan for a Dask dataframe: each partition is a stream, cut when it is there."""
    count = collection.npartitions
    size = MiniBatchSize("bytes", _DEFAULT_BYTES) if size is None else size
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
    )
