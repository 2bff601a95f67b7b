"""How pieces become parts: arithmetic that keeps order, sizes and limits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.remote import compose
from daskbatch.remote.compose import Piece, data_piece, parts_of
from daskbatch.remote.multipart import MAX_PARTS
from daskbatch.remote.requests import md5_for

SIZES = st.lists(st.one_of(st.integers(0, 12), st.integers(0, 300)), max_size=40)


@given(SIZES, st.integers(1, 20), st.integers(40, 100), st.booleans())
def test_parts_are_the_pieces_in_order_and_within_the_limits(
    sizes: list[int], smallest: int, largest: int, header: bool
) -> None:
    pieces = [Piece(f"s3://b/{number}", 5, 5 + size) for number, size in enumerate(sizes)]
    if header:
        pieces.insert(0, data_piece(b"header"))
    parts = parts_of(pieces, smallest, largest)
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))

    def bytes_of(these: list[Piece]) -> list[tuple[str, int]]:
        return [(piece.url, at) for piece in these for at in range(piece.start, piece.start + piece.size)]

    assert bytes_of([piece for part in parts for piece in part.pieces]) == bytes_of(pieces)
    lengths = [sum(piece.size for piece in part.pieces) for part in parts]
    assert all(length >= smallest for length in lengths[:-1])
    assert all(length <= largest for length in lengths)
    assert all(length for length in lengths)


def test_there_are_never_too_many_parts() -> None:
    pieces = [Piece(f"s3://b/{number}", 0, 6 * 2**20) for number in range(30_000)]
    parts = parts_of(pieces)
    assert len(parts) <= MAX_PARTS
    assert sum(piece.size for part in parts for piece in part.pieces) == 30_000 * 6 * 2**20


def test_the_rest_of_a_large_piece_is_copied() -> None:
    parts = parts_of([Piece("s3://b/small", 0, 7), Piece("s3://b/large", 0, 100 * 2**20)])
    assert [part.copied for part in parts] == [False, True]
    assert sum(piece.size for piece in parts[0].pieces) == compose.MIN_PART_SIZE


@pytest.mark.parametrize(
    ("endpoint", "anon", "config", "told"),
    [
        ("http://127.0.0.1:1", False, None, False),
        ("http://127.0.0.1:1", False, {"payload_signing_enabled": True}, False),
        ("http://127.0.0.1:1", False, {"payload_signing_enabled": False}, True),
        ("http://127.0.0.1:1", True, None, True),
        ("https://127.0.0.1:1", False, None, True),
    ],
)
def test_what_no_signature_covers_has_its_md5(endpoint: str, anon: bool, config: Any, told: bool) -> None:
    meta = SimpleNamespace(endpoint_url=endpoint, config=SimpleNamespace(s3=config))

    async def set_session() -> Any:
        return SimpleNamespace(meta=meta)

    file_system = SimpleNamespace(anon=anon, set_session=set_session)
    expected = "kAFQmDzST7DWlj99KOF/cg==" if told else None
    assert asyncio.run(md5_for(file_system, b"abc")) == expected
