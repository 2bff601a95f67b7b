"""How numbers and events read, on the console and in the logs alike."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Mapping
from typing import Any

from daskbatch.events import AttemptFailed, Planned, RunFinished, RunResumed, RunReused

__all__ = [
    "attempt_text",
    "duration",
    "ending_text",
    "indented",
    "planned_text",
    "quantity",
    "resumed_text",
    "reused_text",
    "size",
]

MOST_COLUMNS = 40
"""Columns named at the start; a table may have thousands."""
MOST_SKIPPED = 5
"""Empty files named at the start."""


def duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> duration(18134.2)
    '5:02:14'
    """
    minutes, second = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def quantity(number: int, noun: str = "") -> str:
    """A count, with its noun where one is given.

    >>> quantity(1, "mini-batch"), quantity(12000, "mini-batch")
    ('1 mini-batch', '12,000 mini-batches')
    """
    if not noun:
        return f"{number:,}"
    plural = {"mini-batch": "mini-batches", "retry": "retries", "try": "tries"}.get(noun, f"{noun}s")
    return f"{number:,} {noun if number == 1 else plural}"


def size(number: float) -> str:
    """Bytes in the unit that people read, by 1024.

    >>> size(512), size(1536), size(3 * 1024**3)
    ('512 bytes', '1.5 KB', '3.0 GB')
    """
    if number < 1024:
        return quantity(int(number), "byte")
    for unit in ("KB", "MB", "GB"):
        number /= 1024
        if number < 1024:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:,.1f} TB"


def indented(text: str) -> str:
    """`text`, moved two places to the right."""
    return textwrap.indent(text.rstrip("\n"), "  ")


def planned_text(event: Planned) -> str:
    """What was chosen for the input, and the schema of a table."""
    if event.mini_batches is None:
        cut = f"{'at least' if event.at_least else 'about'} {quantity(event.estimate, 'mini-batch')}"
    else:
        cut = quantity(event.mini_batches, "mini-batch")
    lines = [f"Input: {event.description}", f"  {cut}"]
    if event.schema:
        columns = ", ".join(f"{name} {kind}" for name, kind in event.schema[:MOST_COLUMNS])
        more = len(event.schema) - MOST_COLUMNS
        text = f"{quantity(len(event.schema), 'column')}: {columns}" + (f" and {more:,} more" if more > 0 else "")
        lines.append(textwrap.fill(text, 110, initial_indent="  ", subsequent_indent="    "))
    if event.skipped:
        names = ", ".join(event.skipped[:MOST_SKIPPED]) + (", ..." if len(event.skipped) > MOST_SKIPPED else "")
        lines.append(f"  Left out, as there is nothing in them: {quantity(len(event.skipped), 'file')} ({names})")
    return "\n".join(lines)


def attempt_text(event: AttemptFailed) -> str:
    """A failed try with the user's traceback."""
    ending = (
        f"Mini-batch {event.mini_batch} failed for good at try"
        if event.final
        else f"Mini-batch {event.mini_batch}, try"
    )
    head = f"{ending} {event.attempt} (node {event.node}, process {event.process}):"
    text = event.traceback.strip()
    if event.message not in text or not text:  # a stack says where it hung, not that its time was over
        text = f"{event.error}: {event.message}\n{text}".rstrip()
    return f"{head}\n{indented(text)}"


def ending_text(
    event: RunFinished, output: str, *, with_traceback: bool = True, how_to_go_on: str | None = None
) -> str:
    """What became of the run and where everything is; the user's own traceback comes first.

    `how_to_go_on` is said in place of the commands for the output folder.
    """
    summary = event.summary
    lines = []
    if event.traceback and with_traceback:
        lines.append(event.traceback.rstrip("\n"))
    status, counts = _status(event), _counts(summary)
    lines += [status, counts] if event.error else [f"{status} {counts}"]
    lines = [line for line in lines if line]
    lines += _places(summary, output)
    if how_to_go_on is None:
        lines += _next_steps(event, output)
    elif event.error:
        lines.append(how_to_go_on)
    return "\n".join(lines)


def _next_steps(event: RunFinished, output: str) -> list[str]:
    """How to go on, where there is something left to do."""
    folder = shlex.quote(output)
    lines = []
    if event.error:
        lines.append(f"To go on: repeat the command, or: daskbatch resume {folder}")
    if (event.summary.get("mini_batches") or {}).get("failed"):
        lines.append(f"To try again what failed: daskbatch retry-failed {folder}")
    return lines


def resumed_text(event: RunResumed) -> str:
    """What is done already."""
    failed = sum("missing" not in entry for entry in event.failures)
    done = f"{quantity(event.succeeded, 'mini-batch')} {'is' if event.succeeded == 1 else 'are'} done already"
    return f"Going on with this run: {done}" + (f", {failed:,} failed for good." if failed else ".")


def reused_text(event: RunReused) -> str:
    """That nothing is run, and where the result is."""
    head = "Reused: this run is completed already, and nothing has changed since. --no-reuse runs it anew."
    return "\n".join([head, _counts(event.summary), *_places(event.summary, event.output)])


def _status(event: RunFinished) -> str:
    status = event.summary.get("status", "Ended")
    seconds = event.summary.get("seconds") or 0.0
    after = f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
    if not event.error:
        return f"{status} in {after}:"
    return f"{status} after {after}: {event.error.strip().rstrip('.')}."


def _counts(summary: Mapping[str, Any]) -> str:
    parts = [
        _count(summary.get("mini_batches"), "mini-batch"),
        _count(summary.get("items"), "item"),
    ]
    if summary.get("tries") is not None:
        parts.append(quantity(summary["tries"], "try"))
    told = ", ".join(part for part in parts if part)
    return told and f"{told}."


def _count(counts: Mapping[str, Any] | None, noun: str) -> str:
    """``998 of 1,000 items succeeded (2 failed)``."""
    if not counts:
        return ""
    failed = counts.get("failed") or 0
    total = counts.get("total")
    whole = "" if total is None else f" of {'at least ' if counts.get('at_least') else ''}{quantity(total, noun)}"
    return f"{quantity(counts.get('succeeded') or 0)}{whole} succeeded" + (f" ({failed:,} failed)" if failed else "")


def _places(summary: Mapping[str, Any], output: str) -> list[str]:
    """Where the result, the failures and the logs are, as far as there are any."""
    lines = []
    result = summary.get("output") or {}
    if result.get("name"):
        name = "Result" if summary.get("status") == "Completed" else "Partial result"
        rows = (
            ""
            if result.get("rows") is None
            else f" ({quantity(result['rows'], 'row')}, {size(result.get('bytes') or 0)})"
        )
        lines.append(f"{name}: {os.path.join(output, result['name'])}{rows}")
    for name, path in (("Failed items", "failed_items.jsonl"), ("Logs", "logs")):
        if _is_there(output, path, summary):
            lines.append(f"{name}: {os.path.join(output, path)}")
    return lines


def _is_there(output: str, path: str, summary: Mapping[str, Any]) -> bool:
    if "://" not in output:
        return os.path.exists(os.path.join(output, path))
    counts = (summary.get(noun) or {} for noun in ("mini_batches", "items"))
    return path == "logs" or any(count.get("failed") for count in counts)
