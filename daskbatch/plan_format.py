"""Choose an input's format, by option or by suffix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from daskbatch.errors import InputError
from daskbatch.plan_listing import list_inputs, refuse_mixed
from daskbatch.spec import InputSpec
from daskbatch.store.listing import Found

__all__ = ["Chosen", "choose_format", "choose_formats", "format_of"]

_SUFFIXES = {
    b".csv": "csv",
    b".tsv": "tsv",
    b".jsonl": "jsonl",
    b".ndjson": "jsonl",
    b".parquet": "parquet",
    b".pq": "parquet",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A format, and the files that belong to it."""

    name: str
    """``"files"``, ``"csv"``, ``"tsv"``, ``"jsonl"`` or ``"parquet"``."""
    why: str
    """For people."""
    paths: Iterator[bytes]
    """Absolute, in order. Going through them may raise `InputError`."""


def choose_format(spec: InputSpec, found: Iterator[Found]) -> Chosen:
    """What `spec` says, or what the suffixes say where it says ``"auto"``.

    Raises
    ------
    InputError
        Where some names are those of tables and others are not, or not of the same kind.
    """
    if spec.input_format == "files":
        return Chosen("files", "input_format=files", (path for path, _ in found))
    if spec.input_format != "auto":
        return Chosen(spec.input_format, f"input_format={spec.input_format}", _tables(found))
    early: list[Found] = []
    for one in found:
        early.append(one)
        if not one[1]:
            break
    # A name such as _SUCCESS says nothing about a table's format, and is taken with plain files only.
    first = early[-1][0]
    name = format_of(first)
    if name == "files":
        return Chosen("files", "by suffix", _agreeing(chain(early, found), name, first, underscored=True))
    if early[-1][1]:
        raise InputError(
            f"inputs: {os.fsdecode(first)} and all others begin with '_', and such names below a folder are no"
            " tables. Next: name the files themselves or give a glob."
        )
    return Chosen(name, "by suffix", _agreeing(chain(early, found), name, first, underscored=False))


def choose_formats(spec: InputSpec) -> list[Chosen]:
    """The files of each dataset. All are of one format.

    Raises
    ------
    InputError
        As `choose_format`; and where two datasets are not of the same kind.
    """
    refuse_mixed(spec.paths)
    chosen, first = [], 0
    for _, count in spec.datasets or (("", len(spec.paths)),):
        chosen.append(choose_format(spec, list_inputs(spec.paths[first : first + count], spec.storage_options)))
        first += count
    for (name, _), one in zip(spec.datasets, chosen, strict=False):
        if one.name != chosen[0].name:
            raise InputError(
                f"inputs: {spec.datasets[0][0]!r} is {_words(chosen[0].name)} and {name!r} is {_words(one.name)}, by"
                " their suffixes. A run has one format. Next: make a run for each, or give input_format=files, csv,"
                " tsv, jsonl or parquet (--input-format)."
            )
    return chosen


def _tables(found: Iterator[Found]) -> Iterator[bytes]:
    for path, underscored in found:
        if not underscored:
            yield path


def _agreeing(found: Iterator[Found], name: str, first: bytes, underscored: bool) -> Iterator[bytes]:
    """The paths, as long as all are of the format `name`, as `first` is."""
    for path, mark in found:
        if mark:
            if underscored:
                yield path
            continue
        other = format_of(path)
        if other != name:
            raise InputError(
                f"inputs: {os.fsdecode(first)} is {_words(name)} and {os.fsdecode(path)} is {_words(other)}, by their"
                " suffixes. A run has one format. Next: give other inputs, such as a glob, or input_format=files,"
                " csv, tsv, jsonl or parquet (--input-format)."
            )
        yield path


def format_of(path: bytes) -> str:
    """What a file's suffix says: a table's format, or ``"files"``."""
    name = path.rpartition(b"/")[2].lower()
    stem, dot, suffix = name.rpartition(b".")
    if suffix == b"gz":
        zipped = _SUFFIXES.get(b"." + stem.rpartition(b".")[2], "files") if b"." in stem else "files"
        return "files" if zipped == "parquet" else zipped
    return _SUFFIXES.get(dot + suffix, "files") if dot else "files"


def _words(name: str) -> str:
    return "no table" if name == "files" else f"a {name} table"
