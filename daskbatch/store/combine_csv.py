"""Combine for ``.csv``: one header over all mini-batches' columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from daskbatch.store.formats import encode, quote_row
from daskbatch.store.payloads import Payloads

__all__ = ["split_fields", "uniform_header", "write"]

_FIELD = re.compile(rb'("[^"]*(?:""[^"]*)*"|[^,\n]*)[,\n]')


class _Sink(Protocol):
    def write(self, data: bytes | memoryview) -> int: ...


def uniform_header(payloads: Payloads) -> bytes | None:
    """The header, where all payloads can follow it as they are; else None."""
    names, union = _columns(payloads)
    return _header(union) if all(columns == union for columns in names.values()) else None


def write(portions: Iterable[Payloads], sink: _Sink) -> None:
    """Write the header, then every payload; those whose columns differ from the header's are rewritten."""
    union: list[str] = []
    for payloads in portions:
        names, columns = _columns(payloads)
        if not union and columns:
            union = columns
            sink.write(_header(union))
        places = {number: _places(columns, union) for number, columns in names.items() if columns != union}
        if places:
            _write_moved(payloads, places, sink)
        else:
            for block in payloads.blocks():
                sink.write(block)


def _write_moved(payloads: Payloads, places: Mapping[int, tuple[int, list[int]]], sink: _Sink) -> None:
    for block, numbers in payloads.pieces():
        done = 0
        parts: list[bytes | memoryview] = []
        columns = payloads.records["columns"][numbers.start : numbers.stop].tolist()
        lengths = payloads.records["length"][numbers.start : numbers.stop].tolist()
        for signature, length in zip(columns, lengths, strict=True):
            data = block[done : done + length]
            done += length
            if length:
                parts.append(_moved(bytes(data), *places[signature]) if signature in places else data)
        sink.write(b"".join(parts))


def _columns(payloads: Payloads) -> tuple[dict[int, list[str]], list[str]]:
    """The columns of each signature, and all of them in order of first appearance."""
    names = {number: _names(payloads.signatures[number]) for number, _ in payloads.first_uses()}
    return names, list(dict.fromkeys(name for columns in names.values() for name in columns))


def _header(union: Sequence[str]) -> bytes:
    return encode(quote_row(union, ",") + "\n") if union else b""


def _names(signature: str) -> list[str]:
    return [name for name, _ in json.loads(signature)]


def _places(columns: Sequence[str], union: Sequence[str]) -> tuple[int, list[int]]:
    """Return the number of columns, and for each of the union's its place among them; -1: blank."""
    place = {name: i for i, name in enumerate(columns)}
    return len(columns), [place.get(name, -1) for name in union]


def _moved(data: bytes, width: int, places: list[int]) -> bytes:
    """Return rows with their raw fields, quotes and all, at other places."""
    fields = split_fields(data)
    count = len(fields) // width
    blank = [b""] * count
    columns = [fields[place : count * width : width] if place >= 0 else blank for place in places]
    return b"\n".join([*map(b",".join, zip(*columns, strict=True)), b""])


def split_fields(data: bytes) -> list[bytes]:
    """Return the raw fields of all rows in one list. Only for text that `daskbatch.store.formats` wrote."""
    if b'"' not in data:
        return data.replace(b"\n", b",").split(b",")[:-1]
    return _FIELD.findall(data)
