"""Where records begin and end, against Python's csv module."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daskbatch.store import scan
from daskbatch.store.scan import RecordScanner, RecordTooLong, quoted_newline

CSV_TEXT = st.text(alphabet='ab",\n\r', max_size=60)


def rows_of(text: str) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(text, newline="")) if row]


def scanned(data: bytes, block: int, **options: bool) -> list[tuple[int, int]]:
    scanner = RecordScanner(**({"quotes": False} | options))
    found = []
    for place in [*range(0, len(data), block), len(data)]:
        starts, ends = scanner.feed(data[place : place + block], last=place + block > len(data) or place == len(data))
        found += zip(starts.tolist(), ends.tolist(), strict=True)
    return found


@given(CSV_TEXT, st.integers(1, 70))
@example('5" pipe,x\n"6"" pipe",\n', 3)
@example('"a"b"c,d"\n', 1)
@example('a\r\n\r\n"\r\n', 2)
def test_records_are_those_of_the_csv_module(text: str, block: int) -> None:
    # Given any text, fed in blocks of any size
    data = text.encode()
    # When it is scanned with quotes
    records = [data[start:end].decode() for start, end in scanned(data, block, quotes=True)]
    # Then each record is one row of the csv module, in order, and none is missing
    assert [row for record in records for row in rows_of(record)] == rows_of(text)
    assert len(records) == len(rows_of(text))


@given(CSV_TEXT)
def test_a_newline_inside_quotes_is_found(text: str) -> None:
    # Given the records that quotes make, and those that newlines make
    with_quotes, without = scanned(text.encode(), 100, quotes=True), scanned(text.encode(), 100)
    # When the text is asked for newlines inside quotes
    found = quoted_newline(text.encode(), ",")
    # Then it has some wherever the two differ
    if with_quotes != without:
        assert found is not None


@pytest.mark.parametrize("text", ['"a\nb"\n', '"a\rb"\n', 'x,"a', '1,"\n'])
def test_a_quoted_newline_or_an_open_quote_is_seen(text: str) -> None:
    assert quoted_newline(text.encode(), ",") is not None


@pytest.mark.parametrize("text", ['5" pipe\n6" pipe\n', '"a""b"\n', 'a,"b"\r\n', ""])
def test_other_quotes_are_no_matter(text: str) -> None:
    assert quoted_newline(text.encode(), ",") is None


def test_a_byte_order_mark_belongs_to_no_record() -> None:
    assert scanned(b'\xef\xbb\xbf"a\n"\nb\n', 100, quotes=True) == [(3, 8), (8, 10)]


def test_json_lines_of_white_space_are_blank() -> None:
    assert scanned(b'{"a":1}\n \t\n\n{"a":2}\r\n\r\n', 100, json=True) == [(0, 8), (12, 21)]


def test_a_quote_that_is_never_closed_takes_no_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "LONGEST_RECORD", 100)
    scanner = RecordScanner(quotes=True)
    with pytest.raises(RecordTooLong, match=r"at byte 2 has no end.*a quote there is not closed\. Next: "):
        scanner.feed(b'a\n"' + b"x" * 200, last=False)


@pytest.mark.parametrize(
    ("options", "message"), [({"json": True}, "line of its own"), ({"quotes": True}, "no line may")]
)
def test_a_line_without_end_is_not_said_to_be_a_quote(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, bool], message: str
) -> None:
    monkeypatch.setattr(scan, "LONGEST_RECORD", 100)
    scanner = RecordScanner(**({"quotes": False} | options))
    with pytest.raises(RecordTooLong, match=rf"at byte 0 has no end.*{message}.*\. Next: ") as told:
        scanner.feed(b'["a",' * 50, last=False)
    assert "not closed" not in str(told.value)


@pytest.mark.parametrize("options", [{"quotes": True}, {"json": True}, {}])
def test_a_long_record_is_found_in_time_that_grows_with_its_length(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, bool]
) -> None:
    # Given a record of a thousand blocks, and what is looked at to find its end
    seen = []
    newlines = scan._newlines
    monkeypatch.setattr(scan, "_newlines", lambda data, **how: [seen.append(len(data)), newlines(data, **how)][1])
    data = b'1,"' + b"x" * 1_000_000 + b'"\n2,y\n'
    # When it is fed block by block
    found = scanned(data, 1000, **options)
    # Then each byte was looked at a few times, and not once for each block that followed
    assert found == [(0, 1_000_005), (1_000_005, len(data))]
    assert sum(seen) < 4 * len(data)


def test_nothing_has_no_records() -> None:
    starts, ends = RecordScanner(quotes=True).feed(b"", last=True)
    assert len(starts) == len(ends) == 0
    assert starts.dtype == np.int64
