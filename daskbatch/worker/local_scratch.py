"""Where a node's own disk is."""

from __future__ import annotations

import os
import tempfile

__all__ = ["local_scratch"]


def local_scratch() -> str:
    """Folder for what is this node's alone: ``$SLURM_TMPDIR``, ``$TMPDIR``, or the usual one for temporary files.

    Sites make the first for each job and remove it with it. One that is not there, as in a shell that was left over
    from another job, is passed by.
    """
    given = os.environ.get("SLURM_TMPDIR", "")
    if os.path.isabs(given) and os.path.isdir(given) and os.access(given, os.W_OK | os.X_OK):
        return given
    return tempfile.gettempdir()
