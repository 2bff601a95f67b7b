"""What a runner keeps of the memory that it has freed.

By itself glibc gives a freed array back to the system, and has each page of the next mini-batch's made and cleared
anew: two microseconds of each 4 KiB on a virtual machine, a tenth of the time that a mini-batch of 1 MB of CSV takes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

__all__ = ["VARIABLES", "heap_variables"]

_KEPT = 32 * 2**20
"""Bytes. As far as glibc goes by itself, once an array of that size has been freed."""

VARIABLES = {"MALLOC_MMAP_THRESHOLD_": str(_KEPT), "MALLOC_TRIM_THRESHOLD_": str(_KEPT)}
"""What glibc reads at the start of a process. Dask's nanny sets the second so that a worker gives back more."""

_PREFIX, _TUNABLES = "MALLOC_", ("GLIBC_TUNABLES", "glibc.malloc.")


def heap_variables(environment: Mapping[str, str], not_users: Collection[str] = ()) -> dict[str, str]:
    """Variables that have a runner keep what it has freed; none where the user has said anything about it.

    >>> sorted(heap_variables({})) == sorted(VARIABLES)
    True
    >>> heap_variables({"MALLOC_ARENA_MAX": "2"})
    {}

    Parameters
    ----------
    environment : mapping
        What it would have.
    not_users : collection of str
        Of that, what others have set than the user.
    """
    name, part = _TUNABLES
    said = any(key.startswith(_PREFIX) and key not in not_users for key in environment)
    return {} if said or part in environment.get(name, "") else dict(VARIABLES)
