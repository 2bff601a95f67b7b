"""Find where records begin and end, without parsing them.

A block is looked at with NumPy, as a whole. Runs inside the runner's interpreter too: Python 3.9.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["RecordScanner", "RecordTooLong", "quoted_newline"]

_LF, _CR, _QUOTE = 10, 13, 34

LONGEST_RECORD = 256 * 1024**2
"""Bytes. A quote that is never closed would otherwise take the rest of the input into memory."""


class RecordTooLong(ValueError):
    """Raised when a record has no end within `LONGEST_RECORD`. Says the next step; the file is the caller's to name."""


def _newlines(data: np.ndarray[Any, Any], lone_cr: bool, last: bool) -> np.ndarray[Any, Any]:
    """Places of the last byte of each line's end: ``\\n``, ``\\r\\n``, and a lone ``\\r`` where that ends lines."""
    ends = data == _LF
    if lone_cr:
        returns = data == _CR
        returns[:-1] &= ~ends[1:]
        if len(data) and not last:
            returns[-1] = False  # its \n may be the first byte of the next block
        ends |= returns
    return np.flatnonzero(ends)


def _real_quotes(data: np.ndarray[Any, Any], separator: int) -> np.ndarray[Any, Any]:
    """Places of the quotes that open or close a field; `data` begins outside of quotes.

    A quote opens only at a field's beginning; elsewhere in an unquoted field, as in ``5" pipe``, it is
    a character like any other. So it is for pyarrow and for Python's csv module.
    """
    quotes = np.flatnonzero(data == _QUOTE)
    opening = quotes[0::2]
    before = data[np.maximum(opening, 1) - 1]
    good = (before == separator) | (before == _LF) | (before == _CR) | (before == _QUOTE) | (opening == 0)
    if good.all():
        return quotes
    kept: list[int] = []
    inside = False
    for quote in quotes.tolist():
        if not inside and quote:
            doubled = bool(kept) and kept[-1] == quote - 1
            if not doubled and data[quote - 1] not in (separator, _LF, _CR):
                continue
        kept.append(quote)
        inside = not inside
    return np.array(kept, dtype=np.int64)


def quoted_newline(data: bytes | memoryview, separator: str) -> int | None:
    """Place of the first newline inside quotes, or None. `data` begins at a record's start."""
    array = np.frombuffer(data, np.uint8)
    newlines = _newlines(array, lone_cr=True, last=True)
    quotes = _real_quotes(array, ord(separator))
    inside = newlines[(np.searchsorted(quotes, newlines) & 1).astype(bool)]
    if len(inside):
        return int(inside[0])
    return int(quotes[-1]) if len(quotes) & 1 else None


class RecordScanner:
    """Give it the bytes of a text from the beginning; it says where the records are.

    Blank lines are no records, as for pandas and pyarrow. A byte order mark belongs to none.

    Parameters
    ----------
    quotes
        Newlines inside quotes end no record.
    separator
        Of fields; only looked at with `quotes`.
    json
        JSON Lines: a lone ``\\r`` ends no line, and lines of white space are blank.

    Attributes
    ----------
    position
        Byte after the last complete record.
    """

    def __init__(self, *, quotes: bool, separator: str = ",", json: bool = False) -> None:
        self._quotes = quotes
        self._separator = ord(separator)
        self._json = json
        self._parts: list[bytes] = []
        self._searched = self._waiting = 0
        """Bytes of the parts, which begin at `position`: known to hold no end of a record, and not looked at yet."""
        self.position = 0

    def feed(self, block: bytes, last: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Take the next bytes; return first byte, and byte after the last, of the records now complete.

        Both are counted from the text's beginning. The byte after the last is past the newline.
        """
        if block:
            self._parts.append(block)
            self._waiting += len(block)
        length = self._searched + self._waiting
        if not last and self._waiting < self._searched and length <= LONGEST_RECORD:
            # A long record is looked at again when there is twice as much of it: for every block would take time that
            # grows with the square of its length.
            nothing = np.zeros(0, dtype=np.int64)
            return nothing, nothing
        data = b"".join(self._parts)
        if self.position == 0 and data.startswith(b"\xef\xbb\xbf"):
            data = data[3:]
            self.position = 3
        base = self.position
        array = np.frombuffer(data, np.uint8)
        newlines = _newlines(array, lone_cr=not self._json and b"\r" in data, last=last)
        is_open = False
        if self._quotes and b'"' in data:
            quotes = _real_quotes(array, self._separator)
            is_open = bool(len(quotes) & 1)
            newlines = newlines[(np.searchsorted(quotes, newlines) & 1) == 0]
        ends = newlines + 1
        done = int(ends[-1]) if len(ends) else 0
        if last and done < len(data):
            ends = np.append(ends, len(data))
            done = len(data)
        self._parts = [data[done:]] if done < len(data) else []
        self._searched, self._waiting = len(data) - done, 0
        self.position = base + done
        if self._searched > LONGEST_RECORD:
            raise RecordTooLong(self._endless(is_open))
        starts = np.empty_like(ends)
        starts[:1] = 0
        starts[1:] = ends[:-1]
        keep = self._records(data, array, starts, ends)
        if not keep.all():
            starts, ends = starts[keep], ends[keep]
        return starts + base, ends + base

    def _endless(self, is_open: bool) -> str:
        """What is said of a record that is too long."""
        text = f"the record at byte {self.position} has no end within {LONGEST_RECORD // 1024**2} MB"
        if self._json:
            return (
                f"{text}, and each must be a JSON object on a line of its own. Next: write the file so; `jq -c '.[]'`"
                " makes such lines of a JSON array."
            )
        if is_open:
            return f"{text}: a quote there is not closed. Next: correct the file."
        return f"{text}, and no line may be longer. Next: check that the file is delimited text, and correct it."

    def _records(
        self, data: bytes, array: np.ndarray[Any, Any], starts: np.ndarray[Any, Any], ends: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """Which of the lines are no blank ones."""
        if not len(starts):
            return np.ones(0, dtype=bool)
        first = array[starts]
        keep = (first != _LF) & (first != _CR)
        if self._json:
            for line in np.flatnonzero((first == 32) | (first == 9) | (first == _CR)).tolist():
                keep[line] = bool(data[starts[line] : ends[line]].strip())
        return np.asarray(keep)
