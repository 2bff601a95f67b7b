"""A no-op model that stands still at one per cent from the end, until a file says that the run was resumed.

``python -m ... -- LAST FOLDER``: file names are numbers; those from LAST on wait for ``FOLDER/resumed``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

LAST = int(sys.argv[1]) if len(sys.argv) > 2 else 0
FOLDER = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()
_RESUMED = len(sys.argv) > 2 and (FOLDER / "resumed").exists()


def run(mini_batch: list[str]) -> list[int]:
    """Return one number an item; note the moment of the first call."""
    if int(Path(mini_batch[0]).stem) >= LAST and not _RESUMED:
        (FOLDER / f"stands-{Path(mini_batch[0]).stem}").touch()
        time.sleep(3600)
    if _RESUMED:
        with (FOLDER / "calls").open("a") as calls:
            calls.write(f"{time.monotonic()}\n")
    return [0] * len(mini_batch)
