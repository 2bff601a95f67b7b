"""``daskbatch.try_``: one mini-batch, here and now."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from daskbatch.api.compute_definition import with_definition
from daskbatch.api.inputs import resolve_inputs
from daskbatch.errors import UsageError
from daskbatch.options import make_spec
from daskbatch.options.interpreter import refuse_in_process
from daskbatch.options.names import RunOptions

__all__ = ["TryResult", "try_"]


@dataclass(frozen=True, slots=True, repr=False)
class TryResult:
    """What one mini-batch gave."""

    mini_batch: Any
    """What ``run()`` got."""
    result: Any
    """What it returned."""
    output: bytes
    """The bytes that would go into the combined file, without a header."""
    seconds: float
    """Inside ``run()``."""
    text: str
    """All this for people."""

    def __repr__(self) -> str:
        return self.text


def try_(entry: object, inputs: object, *, mini_batch: int = 0, **options: Unpack[RunOptions]) -> TryResult:
    """Run an entry script on one mini-batch in this process; errors come as they are, debuggers work.

    Parameters
    ----------
    entry, inputs, **options
        As for `run`; those that do not matter here are checked and ignored.
    mini_batch : int
        Which one, from 0.

    Returns
    -------
    TryResult
    """
    from tempfile import TemporaryDirectory

    from daskbatch.engine.serial import own_script
    from daskbatch.engine.trial import describe_trial, nth_mini_batch
    from daskbatch.plan import make_plan
    from daskbatch.plan_copies import copies_in_process
    from daskbatch.store.formats import suffix_of
    from daskbatch.worker.attempt import Attempts
    from daskbatch.worker.origins import Origins

    refuse_in_process(options.get("python"), options.get("command_prefix"), "try")
    given, collection = resolve_inputs(inputs, options)
    if collection is not None:
        raise UsageError("try reads files. Call your function on ddf.partitions[0].compute() instead.")
    with TemporaryDirectory(prefix="daskbatch-try-") as folder:
        spec = make_spec(entry, given, output=folder, **with_definition(options))
        plan = make_plan(spec.input, Path(folder, "plan.jsonl"))
        with own_script(spec, spec.entry.source_directory) as script:
            suffix = suffix_of(spec.append_row_file_name)
            origins = Origins(**plan.origins())
            copies, names = copies_in_process(spec.input.paths, plan.table, spec.input.storage_options)
            attempts = Attempts(
                script, plan.table, suffix, spec.output_action, origins=origins, names=names, copies=copies
            )
            with contextlib.closing(attempts):
                batch, value = nth_mini_batch(plan, attempts, mini_batch)
            script.init()
            began = time.perf_counter()
            result = attempts.run(batch, value)
            seconds = time.perf_counter() - began
            payload = attempts.format(result)
            script.shutdown()
        text = describe_trial(plan, batch, value, result, payload, seconds, suffix)
        return TryResult(value, result, payload.data, seconds, text)
