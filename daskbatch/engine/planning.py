"""The plan of a run: made, recorded, and read back by whoever goes on with it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from daskbatch.engine.folder import RunFolder
from daskbatch.engine.record import RunRecord
from daskbatch.failpoints import failpoint
from daskbatch.options.identity import identity_of
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


def plan_run(spec: RunSpec, folder: RunFolder, run_id: str, collection: Any) -> Prepared:
    """Copy the source directory, plan the input, and record both."""
    failpoint("plan.before")
    entry = spec.entry
    source = None if entry.source_directory is None else folder.snapshot(entry.source_directory)
    if collection is None:
        plan = make_plan(spec.input, folder.plan)
        assert plan.inputs is not None
        inputs = plan.inputs.digest
    else:
        plan = _plan_of_collection(collection, spec.input.mini_batch_size)
        inputs = _identity(collection)
    failpoint("plan.after")
    RunRecord(
        run_id=run_id,
        created=dt.datetime.now().astimezone().isoformat(timespec="seconds"),
        identity=identity_of(spec, inputs),
        options=stored_options(spec),
        plan=plan.as_json(),
        plan_bytes=folder.plan.stat().st_size,
        source=None if source is None else source.name,
    ).write(folder.record)
    return _prepared(spec, plan, source)


def planned_before(spec: RunSpec, folder: RunFolder, record: RunRecord) -> Prepared:
    """The plan as an earlier engine made it: the options and the input are the same."""
    source = None if record.source is None else folder.state / record.source
    if source is not None and not source.is_dir() and spec.entry.source_directory is not None:
        source = folder.snapshot(spec.entry.source_directory)
    plan = plan_from_json(record.plan, folder.plan)
    if plan.format == "arrow":
        plan = dataclasses.replace(plan, path=Path(os.devnull))
    elif not folder.plan.is_file() or folder.plan.stat().st_size != record.plan_bytes:
        plan = make_plan(spec.input, folder.plan)  # it was damaged; the same input gives the same plan
    return _prepared(spec, plan, source)


def _prepared(spec: RunSpec, plan: Plan, source: Path | None) -> Prepared:
    entry = spec.entry
    if source is None or entry.script is None or entry.source_directory is None:
        return Prepared(plan, None if source is None else str(source), entry.script)
    return Prepared(plan, str(source), str(source / os.path.relpath(entry.script, entry.source_directory)))


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
