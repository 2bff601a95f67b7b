"""``try``: find one mini-batch, and show what it gave."""

from __future__ import annotations

from typing import Any

from daskbatch.errors import UsageError
from daskbatch.plan import Plan, read_plan
from daskbatch.store.formats import Payload
from daskbatch.types import MiniBatch
from daskbatch.worker.attempt import Attempts, parts_of
from daskbatch.worker.origins import Origins

__all__ = ["describe_trial", "nth_mini_batch"]

_SHOWN = 2000  # characters of the result


def nth_mini_batch(plan: Plan, attempts: Attempts, number: int) -> tuple[MiniBatch, Any]:
    """The mini-batch of that number and what ``run()`` gets for it; ranges without records do not count.

    Raises
    ------
    UsageError
        There are fewer.
    """
    seen = 0
    for descriptor in read_plan(plan):
        for batch in parts_of(descriptor):
            # Files need no reading to be counted; of tables only a reader knows which ranges hold records.
            if plan.table is not None or seen == number:
                value = attempts.read(batch)
                if value is None:
                    break
                if seen == number:
                    return batch, value
            seen += 1
    raise UsageError(
        f"mini_batch must be a number from 0 to {seen - 1}, got {number}: the input has {seen} mini-batches."
    )


def describe_trial(
    plan: Plan, batch: MiniBatch, value: Any, result: Any, payload: Payload, seconds: float, suffix: str
) -> str:
    """What a person wants to see."""
    noun = "rows" if plan.table else "files"
    lines = [f"Input: {plan.description}"]
    if plan.table and plan.table.columns:
        lines.append("  columns: " + ", ".join(f"{name} {kind}" for name, kind in plan.table.columns))
    lines.append(f"Mini-batch {batch.name}: {len(value)} {noun} of {_where(plan, batch)}")
    lines.append(f"run() took {seconds:.3g} s and returned a {type(result).__name__} of {payload.returned}")
    missing = len(value) - payload.returned
    if missing > 0:
        lines.append(f"  {missing} {noun} would count as failed: fewer elements came back than went in")
    is_text = payload.data and suffix != ".parquet"
    shown = payload.data.decode("utf-8", "replace") if is_text else repr(result)
    lines.append(shown[:_SHOWN].rstrip("\n") + (" ..." if len(shown) > _SHOWN else ""))
    return "\n".join(lines)


def _where(plan: Plan, batch: MiniBatch) -> str:
    """The first file, with what the script is told of the mini-batch."""
    origins = Origins(**plan.origins())
    dataset = origins.dataset(batch)
    told = [] if dataset is None else [f"dataset {dataset}"]
    told += [f"{key}={value}" for key, value in origins.key_values(batch.paths[0]).items()]
    others = f" and {len(batch.paths) - 1:,} more" if len(batch.paths) > 1 else ""
    return batch.paths[0] + others + (f" ({', '.join(told)})" if told else "")
