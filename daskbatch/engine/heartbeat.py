"""An engine's sign of life: a small file that it writes each second, for whoever asks about the run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daskbatch.engine.owner import is_gone

__all__ = ["EVERY", "LOST_AFTER", "begin_heartbeat", "is_over", "read_heartbeat", "stands_still", "write_heartbeat"]

EVERY = 1.0
"""Seconds between two beats."""
LOST_AFTER = 20.0
"""Seconds for which a heartbeat must be seen to stand still: then its engine is taken to be gone. A mistake costs
nothing but work: an engine that wakes finds that its run is another's."""

_SIZE = 2048  # bytes: all of it is written at once, in place
_LOOK_EVERY = 0.5


def begin_heartbeat(path: Path, content: dict[str, Any]) -> None:
    """Make the file, readable by this user alone; one that a killed engine left there goes."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    write_heartbeat(path, content)


def write_heartbeat(path: Path, content: dict[str, Any]) -> None:
    """Write a beat.

    Raises
    ------
    OSError
        FileNotFoundError where the run has been moved away.
    """
    # Opened and closed each time: a network filesystem shows it to others at the close.
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.pwrite(fd, json.dumps(content).encode().ljust(_SIZE), 0)
    finally:
        os.close(fd)


def read_heartbeat(path: Path) -> dict[str, Any] | None:
    """The last beat, None where there is none to read."""
    for _ in range(3):  # it may be read while it is written
        try:
            content = json.loads(path.read_bytes())
        except OSError:
            return None
        except ValueError:
            time.sleep(0.01)
            continue
        return content if isinstance(content, dict) else None
    return None


def is_over(content: dict[str, Any]) -> bool:
    """Whether no further beat can come, as far as that can be known from here."""
    return bool(content.get("over")) or is_gone(content)


def stands_still(
    heart: Any,
    over: Callable[[], bool],
    seconds: float = LOST_AFTER,
    look_every: float = _LOOK_EVERY,
    read: Callable[[Any], dict[str, Any] | None] = read_heartbeat,
) -> bool:
    """Watch a heartbeat; return whether its engine is gone.

    By the clock of who watches, and by what is seen to change: clocks of two hosts may differ by any time.

    Parameters
    ----------
    heart : Path, or what `read` takes
    over : callable
        Whether watching has become pointless: the engine has ended in order.
    seconds : float
        How long it must stand still.
    look_every : float
        Seconds.
    read : callable
        Gives the last beat of `heart`, None where there is none.
    """
    first = now = read(heart)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if over() or (now is not None and is_over(now)):
            return True
        time.sleep(look_every)
        now = read(heart)
        if first is None and now is not None:
            first, until = now, time.monotonic() + seconds
        elif first is not None and now is not None and now["beat"] != first["beat"]:
            return False
    return True
