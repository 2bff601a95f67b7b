"""The end of a worker's slots: each step is taken whatever another raises, and the first error is told."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, cast

import pytest

from daskbatch.worker.plugin import RunPlugin
from daskbatch.worker.slot import Slot

ALL = ["wait 0", "fetch 0", "write 0", "wait 1", "fetch 1", "write 1", "rows", "places", "scratch", "files"]
LET_GO = ["let go 0", "let go 1"]


class Step:
    """Stands for what a plugin or a slot closes: notes each call, and raises where it is told to."""

    def __init__(self, done: list[str], broken: list[str], **names: str) -> None:
        for method, name in names.items():
            setattr(self, method, lambda name=name: self._take(done, broken, name))

    @staticmethod
    def _take(done: list[str], broken: list[str], name: str) -> None:
        done.append(name)
        if name in broken:
            raise OSError(errno.EDQUOT, name)


def slot_of(number: int, done: list[str], broken: list[str]) -> Slot:
    step = {kind: Step(done, broken, close=f"{kind} {number}") for kind in ("write", "fetch")}
    slot = Slot("node", f"process{number}", cast(Any, None), cast(Any, step["write"]), print, cast(Any, step["fetch"]))
    slot._runner = cast(Any, Step(done, broken, wait=f"wait {number}", let_go=f"let go {number}"))
    return slot


async def plugin_of(done: list[str], broken: list[str]) -> RunPlugin:
    """One with two idle slots, as it is before its end."""
    plugin = RunPlugin("name", "topic", cast(Any, None))
    worker = cast(Any, type("Worker", (), {"lifetime": None}))
    plugin.setup(worker)
    plugin._lease.stop()
    plugin._slots = [slot_of(number, done, broken) for number in range(2)]
    for slot in reversed(plugin._slots):
        plugin._free.put(slot)
    plugin._upcoming = cast(Any, Step(done, broken, close="rows"))
    plugin._places = cast(Any, Step(done, broken, close="places"))
    plugin._scratch = cast(Any, Step(done, broken, remove="scratch"))
    plugin._files = cast(Any, Step(done, broken, close="files"))
    return plugin


@pytest.mark.parametrize("broken", [[name] for name in ALL + LET_GO] + [["write 0", "wait 1", "let go 0"]])
def test_each_step_is_taken(broken: list[str]) -> None:
    done: list[str] = []
    plugin = asyncio.run(plugin_of(done, broken))
    with pytest.raises(OSError, match=broken[0]):
        plugin._close()
    assert done == ALL + LET_GO
    # and a task that comes after the end finds no slot
    assert plugin._free.get_nowait() is None
