"""The files of an input as planning takes them in: dataset by dataset, looked at once."""

from __future__ import annotations

import os
from collections.abc import Iterator

from daskbatch.errors import InputError
from daskbatch.plan_format import choose_formats
from daskbatch.plan_inputs import Tally
from daskbatch.plan_listing import Entry
from daskbatch.spec import InputSpec
from daskbatch.store.partition_format import PartitionFormat, parse_format

__all__ = ["Sources"]


class Sources:
    """The files of all datasets of an input, in order. One pass: `lines` or `tables`.

    Parameters
    ----------
    spec
        The input as declared.
    listed
        As for `Tally`.

    Raises
    ------
    InputError
        Where the input is missing, empty or of mixed formats.
    """

    counts: list[int]
    """Files of each dataset that are read, once they have gone by."""
    skipped: list[str]
    """Tables of zero bytes."""

    def __init__(self, spec: InputSpec, listed: tuple[int, str] | None = None) -> None:
        self._chosen = choose_formats(spec)
        looked_at_later = spec.partition_format is None or spec.partition_keys
        self._form = None if looked_at_later else parse_format(spec.partition_format)
        self.format, self.why = self._chosen[0].name, self._chosen[0].why
        self.names = [name for name, _ in spec.datasets]
        self.tally = Tally(listed)
        self.counts, self.skipped = [], []

    def _datasets(self) -> Iterator[Iterator[bytes]]:
        for chosen in self._chosen:
            self.tally.begin_dataset()
            yield chosen.paths if self._form is None else _of_format(chosen.paths, self._form)

    def lines(self, at_once: int) -> Iterator[str]:
        """Lines of a plan file, up to `at_once` at a time, of files that are no tables."""
        for paths in self._datasets():
            count = 0
            for entries, lines in self.tally.chunks(paths, at_once):
                count += len(entries)
                yield lines
            self.counts.append(count)

    def tables(self) -> Iterator[Entry]:
        """The tables that have content.

        Raises
        ------
        InputError
            One cannot be read, or none has content.
        """
        for paths in self._datasets():
            count = 0
            for entries, _ in self.tally.chunks(paths):
                for entry in entries:
                    if isinstance(entry[2], int) and not os.access(entry[0], os.R_OK):
                        raise InputError(
                            f"inputs: {entry[0]} cannot be read: its permissions forbid it. Next: chmod +r it."
                        )
                    if entry[1]:
                        count += 1
                        yield entry
                    else:
                        self.skipped.append(entry[0])
            self.counts.append(count)
        if not any(self.counts):
            raise InputError(_nothing(self.skipped))


def _of_format(paths: Iterator[bytes], form: PartitionFormat) -> Iterator[bytes]:
    """The paths, as long as all are of the format."""
    for path in paths:
        form.values(os.fsdecode(path))
        yield path


def _nothing(skipped: list[str]) -> str:
    if not skipped:
        return "inputs: no table was found: names that begin with '_' or '.' are left out of folders."
    others = f", and so have all {len(skipped)} tables" if len(skipped) > 1 else ""
    return f"inputs: {skipped[0]} has zero bytes{others}. Next: check the path."
