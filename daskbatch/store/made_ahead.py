"""An iterator whose next item is made while the present one is used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["made_ahead"]

T = TypeVar("T")


def made_ahead(items: Iterator[T], is_light: Callable[[T], bool]) -> Generator[T, None, None]:
    """Yield what `items` gives, made in another thread.

    Parameters
    ----------
    items
        Where it waits for something when this generator is closed, it is left alone: a daemon of its own waits there,
        so that it keeps no process from its end.
    is_light
        Whether the next one may be made beside this one. Else it is made when the caller is done with that.
    """
    closed = threading.Event()
    wanted: SimpleQueue[None] = SimpleQueue()
    made: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def make() -> None:
        while True:
            wanted.get()
            if closed.is_set():
                return
            try:
                made.put((next(items), None))
            except BaseException as error:  # the end, too
                made.put((None, error))

    threading.Thread(target=make, name="daskbatch-ahead", daemon=True).start()
    try:
        wanted.put(None)
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            light = is_light(item)  # type: ignore[arg-type]
            if light:
                wanted.put(None)
            yield item  # type: ignore[misc]
            del item
            if not light:
                wanted.put(None)
    finally:
        closed.set()
        wanted.put(None)
