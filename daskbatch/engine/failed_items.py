"""The lines of ``failed_items.jsonl``: what failed, how, where and after how many tries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daskbatch.types import OPEN_END, MiniBatch

__all__ = ["failure_entry", "short_entry"]


def failure_entry(
    batch: MiniBatch, items: int | None, failure: Mapping[str, Any], tries: int, report: Mapping[str, Any]
) -> dict[str, Any]:
    """A mini-batch that has finally failed.

    Parameters
    ----------
    items : int or None
        Its items, where they are known.
    failure : mapping
        Of the last try.
    tries : int
        Charged in all.
    report : mapping
        Of the task; tells where it ran.
    """
    return {
        **_describe(batch),
        "item_count": items,
        "error": failure["error"],
        "message": failure["message"],
        "traceback": failure["traceback"],
        "tries": tries,
        "worker": f"{report['node']}/{report['process']}",
    }


def short_entry(batch: MiniBatch, items: int, returned: int, tries: int, report: Mapping[str, Any]) -> dict[str, Any]:
    """A mini-batch that succeeded, but returned less than went in."""
    return {
        **_describe(batch),
        "item_count": items,
        "missing": items - returned,
        "error": "MissingItems",
        "message": f"run() returned {returned} results for {items} items",
        "traceback": "",
        "tries": tries,
        "worker": f"{report['node']}/{report['process']}",
    }


def _describe(batch: MiniBatch) -> dict[str, Any]:
    """Identity of a mini-batch for people: its key, its files, its range."""
    identity: dict[str, Any] = {"mini_batch": batch.name, "paths": list(batch.paths)}
    if batch.stop == OPEN_END and batch.start == 0:
        identity["rest_of_file"] = True
    if batch.stop > 0:
        identity["range"] = [batch.start, batch.stop]
        if batch.unit:
            identity["row_group"] = batch.unit
    return identity
