"""What crosses the pipes comes out as it went in."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.types import OPEN_END, MiniBatch, MiniBatchSize, TableFormat
from daskbatch.worker import wire

NUMBERS = st.integers(0, 2**32 - 1)
PATHS = st.lists(st.text(st.characters(min_codepoint=1)), min_size=1, max_size=3).map(tuple)
BATCHES = st.lists(
    st.one_of(
        st.builds(lambda file, paths: MiniBatch(file, 0, paths), NUMBERS, PATHS),
        st.builds(
            lambda file, paths, stamps: MiniBatch(file, 0, tuple(paths), stamps=tuple(stamps * len(paths))),
            NUMBERS,
            st.sampled_from([["/a"], ["/b"], ["/a", "/b"]]),
            st.lists(st.integers(0, 2**63), min_size=2, max_size=2),
        ),
        st.builds(
            MiniBatch,
            NUMBERS,
            NUMBERS,
            PATHS,
            NUMBERS,
            NUMBERS,
            st.integers(1, 2**40),
            NUMBERS,
            NUMBERS,
            NUMBERS | st.text(),
            st.just(()),
        ),
        st.builds(lambda *key: MiniBatch(*key, stop=OPEN_END), NUMBERS, NUMBERS, PATHS),
    ),
    max_size=6,
)


@given(
    batches=BATCHES, budget=st.floats(0, 1e9), retries=st.dictionaries(st.tuples(NUMBERS, NUMBERS), NUMBERS, max_size=3)
)
def test_rows(batches: list[MiniBatch], budget: float, retries: dict[tuple[int, int], int]) -> None:
    found, *others = wire.decode_row(wire.encode_row(batches, budget, retries))
    assert (list(found), *others) == (batches, budget, retries)


def test_names_that_are_no_utf8_survive() -> None:
    name = os.fsdecode(b"/in/caf\xe9.png")
    (batch,), _, _ = wire.decode_row(wire.encode_row([MiniBatch(0, 0, (name,))], 1.0, {}))
    assert os.fsencode(batch.paths[0]) == b"/in/caf\xe9.png"


def frames_of(pieces: list[bytes]) -> Iterator[wire.Frame]:
    """The frames, read from a pipe as soon as each piece has been written."""
    reader = wire.FrameReader()
    down, up = os.pipe()
    try:
        for piece in pieces:
            os.write(up, piece)
            left = len(piece)
            while left:
                left -= reader.read(down)
                yield from reader.frames()
    finally:
        os.close(up)
        os.close(down)


def test_frames_larger_than_the_buffer() -> None:
    # Given frames with sizes around those of the reader's buffer as it grows
    sizes = [0, 1, 2**18 - 49, 2**18, 2**18 + 1, 2**20, 5, 3 * 2**20, 9 * 2**20, 7, 2**18 - 100, 2**17, 2**17, 9]
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    data = b"".join(wire.pack_frame(wire.RESULT, payload) for payload in payloads)
    # When they come as a pipe gives them
    frames = list(frames_of([data[at : at + 2**16] for at in range(0, len(data), 2**16)]))
    # Then they are whole
    assert [frame.payload for frame in frames] == payloads


@given(sizes=st.lists(st.integers(0, 200), max_size=30), cut=st.integers(1, 500))
def test_frames_in_a_small_buffer(sizes: list[int], cut: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_BUFFER_BYTES", 64)
        patch.setattr(wire, "_KEPT_BYTES", 256)
        payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
        data = b"".join(wire.pack_frame(wire.RESULT, payload) for payload in payloads)
        frames = list(frames_of([data[at : at + cut] for at in range(0, len(data), cut)]))
    assert [frame.payload for frame in frames] == payloads


class FourGibibytes(bytes):
    """Says that it is that long: the real thing would take a test too much memory."""

    def __len__(self) -> int:
        return 2**32


def test_a_result_of_four_gibibytes_has_a_frame() -> None:
    frame = wire.pack_frame(wire.RESULT, FourGibibytes(), file=3)
    fields = wire._HEADER.unpack_from(frame)
    assert fields[1:3] == (wire.RESULT, 3)
    assert fields[-3] == 2**32


@pytest.mark.parametrize("length", [2**32 - 1, 2**32, 2**63, 2**64 - 1])
def test_a_forged_length_takes_no_memory(length: int) -> None:
    import tracemalloc

    tracemalloc.start()
    forged = wire._HEADER.pack(wire._MAGIC, wire.RESULT, *[0] * 6, length, 0, 0.0)
    list(frames_of([forged, b"x" * 10_000]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


@given(payloads=st.lists(st.binary(max_size=200), max_size=6), cut=st.integers(1, 40))
def test_frames_in_pieces_of_any_size(payloads: list[bytes], cut: int) -> None:
    # Given frames, of which the last is torn
    data = b"".join(wire.pack_frame(wire.RESULT, p, 1, n, 2, 3, 4, 5, 0.5) for n, p in enumerate(payloads))
    data += wire.pack_frame(wire.END, b"torn")[:-1]
    # When they come in pieces
    frames = list(frames_of([data[at : at + cut] for at in range(0, len(data), cut)]))
    # Then all but the torn one are there
    assert [frame.payload for frame in frames] == payloads
    assert [frame.index for frame in frames] == list(range(len(payloads)))
    assert all(frame[2:8] == (n, 2, 3, 4, 5, frame.checksum) for n, frame in enumerate(frames))


@given(place=st.integers(0, 99), bit=st.integers(0, 7))
def test_a_frame_with_a_bit_that_is_not_its_own_is_none(place: int, bit: int) -> None:
    good, bad = wire.pack_frame(wire.RESULT, b"good"), bytearray(wire.pack_frame(wire.RESULT, bytes(100)))
    bad[len(bad) - 100 + place] ^= 1 << bit
    frames = frames_of([good + bad])
    assert next(frames).payload == b"good"
    with pytest.raises(wire.NotAFrame):
        next(frames)


def test_work_larger_than_a_pipe() -> None:
    down, up = os.pipe()
    blob = os.urandom(300_000)
    sender = threading.Thread(target=wire.send_work, args=(up, b"message", blob))
    sender.start()
    assert wire.read_exactly(down) == (b"message", blob)
    sender.join()
    os.close(up)
    assert wire.read_exactly(down) is None
    os.close(down)


def test_the_page_tells_the_phase_and_the_stop() -> None:
    page = wire.Page(bytearray(wire.PAGE_SIZE))
    page.enter(wire.RUN, 3, 17, 10)
    assert page.state()[1:] == (wire.RUN, 3, 17, 10)
    assert not page.stop
    page.request_stop()
    assert page.stop
    assert page.state()[1:] == (wire.RUN, 3, 17, 10)
    page.clear_stop()
    assert not page.stop


def test_a_table_format_survives_json() -> None:
    import json

    table = TableFormat("csv", MiniBatchSize("rows", 5), columns=(("a", "int64"),), dtype=(("a", "int64"),))
    assert wire.table_format(json.loads(json.dumps(table._asdict()))) == table
