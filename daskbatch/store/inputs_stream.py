"""Get the bytes of a text table's mini-batches where the text can only be read from its beginning.

Runs inside the runner's interpreter too: Python 3.9, nothing but the standard library at the top.
"""

from __future__ import annotations

from collections.abc import Iterator

from daskbatch.store.inputs_text import Piece, cuts_at_newline_bytes, open_text, record_scanner
from daskbatch.types import TableFormat

__all__ = ["TextStream"]


class TextStream:
    """The mini-batches of a text that can only be read from its beginning, one after the other.

    Attributes
    ----------
    position
        Index of the mini-batch that comes next.
    header
        As for `TextFile`; known once the first mini-batch was asked for.
    is_utf8
        The pieces are UTF-8 already, whatever the file is.
    last
        The piece before `position`, for a second try; None where there is none or it was damaged.
    """

    def __init__(self, path: str, table: TableFormat) -> None:
        import numpy as np

        self.path = path
        self.header = b""
        self.position = 0
        self.is_utf8 = not cuts_at_newline_bytes(table.encoding)
        self.last: Piece | None = None
        self._size = table.size
        self._wants_header = table.format == "csv" and table.header
        self._blocks: Iterator[bytes] | None = open_text(path, table)
        self._scanner = record_scanner(table)
        self._window, self._window_at = bytearray(), 0
        self._starts = self._ends = np.zeros(0, dtype=np.int64)

    def close(self) -> None:
        """Let the file go."""
        blocks, self._blocks = self._blocks, None
        if blocks is not None:
            blocks.close()  # type: ignore[attr-defined]

    def __next__(self) -> Piece:
        """The next mini-batch.

        Raises
        ------
        StopIteration
            At the end, and after damage was met.
        MiniBatchError
            Once, where the file is damaged.
        """
        try:
            count = self._count()
            while count == 0 and self._blocks is not None:
                self._pull()
                count = self._count()
        except BaseException:
            self.close()
            self._starts = self._ends = self._starts[:0]
            self.position += 1
            self.last = None
            raise
        if count == 0:
            raise StopIteration
        begin, end = int(self._starts[0]), int(self._ends[count - 1])
        self.last = Piece(bytes(self._window[begin - self._window_at : end - self._window_at]), begin)
        self._starts, self._ends = self._starts[count:], self._ends[count:]
        self.position += 1
        return self.last

    def __iter__(self) -> TextStream:
        return self

    def _count(self) -> int:
        """How many of the records found make the next mini-batch; 0: more must be read first."""
        count = len(self._starts)
        if count == 0:
            return 0
        if self._size.kind == "rows":
            enough = self._size.value
        else:
            # As for plain text: the records that start within so many bytes.
            enough = int(self._starts.searchsorted(self._starts[0] + self._size.value))
        if enough < count or (self._size.kind == "rows" and enough == count):
            return enough
        return count if self._blocks is None else 0

    def _pull(self) -> None:
        """Read a block and find its records."""
        import numpy as np

        assert self._blocks is not None
        block = next(self._blocks, b"")
        used = int(self._starts[0]) if len(self._starts) else self._scanner.position
        starts, ends = self._scanner.feed(block, last=not block)
        del self._window[: used - self._window_at]
        self._window_at = used
        self._window += block
        if not block:
            self.close()
        if self._wants_header and len(starts):
            self._wants_header = False
            self.header = bytes(self._window[int(starts[0]) - self._window_at : int(ends[0]) - self._window_at])
            starts, ends = starts[1:], ends[1:]
        self._starts = np.concatenate([self._starts, starts])
        self._ends = np.concatenate([self._ends, ends])
