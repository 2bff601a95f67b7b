"""The checksum, whoever computes it."""

from __future__ import annotations

import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.store.checksum import crc32


@given(st.binary(max_size=2000), st.integers(0, 2**32 - 1))
def test_it_is_that_of_zlib(data: bytes, before: int) -> None:
    assert crc32(data) == zlib.crc32(data)
    assert crc32(memoryview(data), before) == zlib.crc32(data, before)


@pytest.mark.parametrize("size", [511, 512, 10_000, 3_000_000])
def test_of_any_size(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    assert crc32(memoryview(data)[:size]) == zlib.crc32(data[:size])


def test_in_parts() -> None:
    data = bytes(range(256)) * 100
    assert crc32(data[700:], crc32(data[:700])) == zlib.crc32(data)


def test_an_interpreter_without_the_second_library_has_it_too() -> None:
    program = (
        "import sys; sys.modules['isal'] = None\n"
        "from daskbatch.store.checksum import crc32\n"
        "print(crc32(b'a' * 10_000))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) == zlib.crc32(b"a" * 10_000)
