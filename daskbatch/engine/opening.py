"""The output of a run, on a disk or on a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from daskbatch.engine.folder import RunFolder
from daskbatch.engine.mirror import private_folder
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.urls import is_remote

__all__ = ["opened"]


@contextlib.contextmanager
def opened(output: str, options: StorageOptions = ()) -> Iterator[RunFolder]:
    """Give the places of the run in an output folder, or below a URL.

    Parameters
    ----------
    output : str
        Absolute path, or URL.
    options
        How the store is reached, where it is one.
    """
    if not is_remote(output):
        yield RunFolder(Path(output))
        return
    from daskbatch.engine.prefix import RunPrefix

    with private_folder() as mirror:
        yield RunPrefix(output, mirror, options)
