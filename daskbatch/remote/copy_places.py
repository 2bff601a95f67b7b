"""Where the copies of objects lie on a disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, chain

from daskbatch.errors import MiniBatchError

__all__ = ["places_below"]

_LONGEST_NAME = 255
"""Bytes of a file's name."""


def places_below(root: str, groups: Sequence[tuple[str, ...]]) -> list[tuple[str, ...] | MiniBatchError]:
    """Where the objects of each mini-batch lie below `root`, or why they can lie nowhere.

    A key may be another one's folder, and two mini-batches may have the same object: then they lie in different
    folders, ``<root>/<keys above>.<times before>/<bucket>/<key>``.
    """
    names = [[url.split("://", 1)[1] for url in urls] for urls in groups]
    known, times = set(chain.from_iterable(names)), Counter[str]()
    placed: list[tuple[str, ...] | MiniBatchError] = []
    for own in names:
        try:
            paths = []
            for name in own:
                parts = _parts(name)
                above = sum(folder in known for folder in accumulate(parts[:-1], "{}/{}".format))
                paths.append(os.path.join(root, f"{above}.{times[name]}", name))
                times[name] += 1
            placed.append(tuple(paths))
        except MiniBatchError as error:
            placed.append(error)
    return placed


def _parts(name: str) -> list[str]:
    """Bucket, folders and file.

    Raises
    ------
    MiniBatchError
        No disk has files of such a name.
    """
    parts = name.split("/")
    if (
        not {"", ".", ".."}.isdisjoint(parts)
        or "\0" in name
        or any(len(os.fsencode(part)) > _LONGEST_NAME for part in parts)
    ):
        raise MiniBatchError(
            f"{name}: an object of that name can have no copy on a disk. Next: copy it to another key."
        )
    return parts
