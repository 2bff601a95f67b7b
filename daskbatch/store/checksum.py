"""The checksum of all that is committed: the CRC-32 of zlib, for what is large by Intel's library where that is there.

Runs in the runner's interpreter too: Python 3.9, nothing but the standard library needed.
"""

from __future__ import annotations

import zlib

try:
    from isal.isal_zlib import crc32 as _crc32_of_much
except ImportError:  # another interpreter, or a machine that it is not built for
    from zlib import crc32 as _crc32_of_much


__all__ = ["crc32"]

_MUCH = 512
"""Bytes from which on a second library is the faster one: of ten bytes it takes twice the time, of a megabyte a
quarter."""


def crc32(data: bytes | bytearray | memoryview, before: int = 0) -> int:
    """The CRC-32 of bytes.

    Parameters
    ----------
    data
    before
        That of the bytes which come before them.
    """
    return zlib.crc32(data, before) if len(data) < _MUCH else _crc32_of_much(data, before)
