"""Copies for who reads in the same process, with the names that belong to them."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from daskbatch.plan_listing import Storage, scheme_of
from daskbatch.store.copy_names import CopyNames
from daskbatch.types import TableFormat

if TYPE_CHECKING:
    from daskbatch.remote.copies import Copies

__all__ = ["copies_in_process"]


def copies_in_process(
    paths: tuple[str, ...], table: TableFormat | None, storage: Storage
) -> tuple[Copies | None, CopyNames | None]:
    """What makes copies of an input's mini-batches in a new temporary folder, and tells their names.

    None, where the input lies on this host's disks. Whoever gets copies closes them.
    """
    scheme = scheme_of(paths)
    if not scheme:
        return None, None
    from daskbatch.remote.copies import Copies

    folder = tempfile.mkdtemp(prefix="daskbatch-copies-")
    return Copies(folder, table, storage), CopyNames(folder, scheme)
