"""Cut an input into mini-batches: what to read, not what is in it. Knows no Dask.

The plan lies in a file, a line for each input file, and is read back lazily: a million files or
mini-batches never lie in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from daskbatch.errors import InputError
from daskbatch.plan_cuts import cut_files, cut_parquet, cut_text, read_lines
from daskbatch.plan_format import choose_format
from daskbatch.plan_inputs import Entry, Tally
from daskbatch.plan_record import Plan
from daskbatch.spec import DEFAULT_BYTES, DEFAULT_FILES, InputSpec
from daskbatch.store.footers import ParquetSchema, count_cuts
from daskbatch.store.inputs_path import PathColumns
from daskbatch.store.inputs_text import is_scanned, is_stream
from daskbatch.store.listing import list_files
from daskbatch.store.partition_format import PartitionFormat, parse_format
from daskbatch.types import MiniBatch, MiniBatchSize, TableFormat

__all__ = ["Plan", "make_plan", "read_plan"]

_GZIP_RATIO = 4
"""A guess at how much text a gzip file holds, for estimates alone."""


def make_plan(spec: InputSpec, path: Path) -> Plan:
    """List the input, find its schema, and write the plan to `path`.

    Parameters
    ----------
    spec
        The input as declared.
    path
        The plan file; replaced where it exists.

    Raises
    ------
    InputError
        Where the input is missing, empty, unreadable, of mixed formats, or its files have different columns.
    """
    chosen = choose_format(spec, list_files(spec.paths))
    if spec.partition_format is not None:
        chosen = replace(chosen, paths=_of_format(chosen.paths, parse_format(spec.partition_format)))
    size = _fitting_size(spec.mini_batch_size, chosen.name)
    try:
        _refuse_unfit_options(spec, chosen.name)
        if chosen.name == "files":
            return _plan_files(chosen.paths, chosen.why, size, path)
        table = _table_format(spec, chosen.name, size)
        if table.format == "parquet":
            return _plan_parquet(chosen.paths, chosen.why, table, path)
        return _plan_text(chosen.paths, chosen.name, chosen.why, table, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def read_plan(plan: Plan) -> Iterator[MiniBatch]:
    """The mini-batches, in order, as they are asked for.

    Raises
    ------
    InputError
        Where a quote is never closed in a text that is scanned.
    """
    if plan.table is None:
        return cut_files(str(plan.path), plan.size.value)
    lines = read_lines(str(plan.path))
    if plan.format == "parquet":
        return cut_parquet(lines, plan.size)
    return cut_text(lines, plan.table)


def _fitting_size(size: MiniBatchSize | None, name: str) -> MiniBatchSize:
    """The size in the format's own kind. A bare number is a count of files, or bytes of a table."""
    if name == "files":
        if size is not None and size.kind != "files":
            shown = f"{size.value}rows" if size.kind == "rows" else _bytes_text(size.value).replace(" ", "")
            raise InputError(
                f"mini_batch_size must be a count of files >= 1 for a FileDataset, got {shown!r}."
                " Sizes in bytes or rows are for tables. Next: give a number such as 10, or input_format= if"
                " these files are tables."
            )
        return size or DEFAULT_FILES
    if size is None:
        return DEFAULT_BYTES
    return MiniBatchSize("bytes", size.value) if size.kind == "files" else size


def _refuse_unfit_options(spec: InputSpec, name: str) -> None:
    """Options that would be ignored: only with the format it is known that they would."""
    text = ("separator", spec.separator is not None), ("header", not spec.header)
    for option, given, formats in (
        *((option, given, ("csv", "tsv")) for option, given in text),
        ("support_multi_line", spec.support_multi_line, ("csv", "tsv")),
        ("dtype", bool(spec.dtype), ("csv", "tsv", "jsonl", "parquet")),
        ("include_path", spec.include_path, ("csv", "tsv", "jsonl", "parquet")),
    ):
        if given and name not in formats:
            raise InputError(
                f"{option} is for {', '.join(formats)}, but the input was taken as {name}. Next: leave it out, or say"
                " what the input is with input_format."
            )


def _table_format(spec: InputSpec, name: str, size: MiniBatchSize) -> TableFormat:
    return TableFormat(
        format="csv" if name == "tsv" else name,
        size=size,
        separator=spec.separator or ("\t" if name == "tsv" else ","),
        header=spec.header,
        encoding=spec.encoding,
        multi_line=spec.support_multi_line,
        dtype=spec.dtype,
        include_path=spec.include_path,
        partition_format=spec.partition_format or "",
    )


def _of_format(paths: Iterator[bytes], form: PartitionFormat) -> Iterator[bytes]:
    """The paths, as long as all are of the format."""
    for path in paths:
        form.values(os.fsdecode(path))
        yield path


def _plan_files(paths: Iterator[bytes], why: str, size: MiniBatchSize, path: Path) -> Plan:
    tally = Tally()
    with path.open("w", encoding="ascii") as file:
        for _, lines in tally.chunks(paths):
            file.write(lines)
    found = tally.state()
    count = -(-found.files // size.value)
    description = f"{_counted(found.files, 'file')} ({why}), mini-batches of {_counted(size.value, 'file')}"
    return Plan(path, "files", None, size, found.files, count, count, found.bytes, description, (), found)


def _readable(tally: Tally, paths: Iterator[bytes]) -> Iterator[Entry]:
    """What each table's file is like."""
    for entries, _ in tally.chunks(paths):
        for entry in entries:
            if not os.access(entry[0], os.R_OK):
                raise InputError(f"inputs: {entry[0]} cannot be read: its permissions forbid it. Next: chmod +r it.")
            yield entry


def _filled(entries: Iterator[Entry], skipped: list[str]) -> Iterator[Entry]:
    """Entries with content; the names of the others go to `skipped`."""
    empty = True
    for entry in entries:
        if entry[1]:
            empty = False
            yield entry
        else:
            skipped.append(entry[0])
    if empty and skipped:
        raise InputError(
            f"inputs: {skipped[0]} has zero bytes, and so have all {len(skipped)} tables. Next: check the path."
            if len(skipped) > 1
            else f"inputs: {skipped[0]} has zero bytes. Next: check the path."
        )
    if empty:
        raise InputError("inputs: no table was found: names that begin with '_' or '.' are left out of folders.")


def _write(file: TextIO, line: object) -> None:
    file.write(json.dumps(line, separators=(",", ":")) + "\n")


def _plan_text(paths: Iterator[bytes], name: str, why: str, table: TableFormat, path: Path) -> Plan:
    files = input_bytes = plain_bytes = ranges = 0
    streams = False
    skipped: list[str] = []
    tally = Tally()
    with path.open("w", encoding="ascii") as file:
        for entry in _filled(_readable(tally, paths), skipped):
            _write(file, entry)
            files += 1
            input_bytes += entry[1]
            stream = is_stream(entry[0], table)
            streams |= stream
            text = entry[1] * _GZIP_RATIO if entry[0].lower().endswith(".gz") else entry[1]
            plain_bytes += text
            ranges += -(-text // table.size.value)
    table, record_bytes = _with_schema(path, files, table)
    if table.size.kind == "rows":
        ranges = max(files, round(plain_bytes / record_bytes / table.size.value))
    exact = not streams and not is_scanned(table)
    description = _describe(files, name, input_bytes, why, table.size)
    return Plan(
        path, table.format, table, table.size, files, ranges if exact else None, ranges, input_bytes, description,
        tuple(skipped), tally.state(),
    )  # fmt: skip


def _with_schema(path: Path, files: int, table: TableFormat) -> tuple[TableFormat, float]:
    """The table with its columns, from samples; and the mean length of a record."""
    from daskbatch.store.schema import sample_text, sampled_places

    places = set(sampled_places(files))
    paths = [line[0] for place, line in enumerate(read_lines(str(path))) if place in places]
    sample = sample_text(paths, table)
    if not sample.records and len(paths) == files:
        others = f", nor has any other of the {files} tables" if files > 1 else ""
        raise InputError(f"inputs: {paths[0]} has no rows{others}. Next: check the path.")
    PathColumns(table).refuse_taken((name for name, _ in sample.columns), sample.schema_from)
    return table._replace(columns=sample.columns, schema_from=sample.schema_from), max(sample.record_bytes, 1.0)


def _plan_parquet(paths: Iterator[bytes], why: str, table: TableFormat, path: Path) -> Plan:
    from daskbatch.store.schema import apply_dtype

    files = input_bytes = count = rows = 0
    skipped: list[str] = []
    tally, schema = Tally(), ParquetSchema()
    with path.open("w", encoding="ascii") as file:
        for entry, metadata in _footers(_filled(_readable(tally, paths), skipped)):
            groups = schema.add(entry[0], metadata)
            _write(file, [*entry, groups])
            files += 1
            input_bytes += entry[1]
            rows += metadata.num_rows
            count += count_cuts(groups, table.size)
    if not rows:
        raise InputError(f"inputs: {schema.first} has no rows, nor has any other of the {files} Parquet files.")
    table = table._replace(columns=apply_dtype(schema.columns(), table, schema.first), schema_from=schema.first)
    PathColumns(table).refuse_taken((name for name, _ in table.columns), schema.first)
    description = _describe(files, "parquet", input_bytes, why, table.size)
    return Plan(
        path, "parquet", table, table.size, files, count, count, input_bytes, description, tuple(skipped),
        tally.state(),
    )  # fmt: skip


def _footers(entries: Iterator[Entry]) -> Iterator[tuple[Entry, Any]]:
    """Entries with their footers, in order. Several are fetched at once: on a network disk each takes a while."""
    with ThreadPoolExecutor(8, thread_name_prefix="daskbatch-footers") as pool:
        while some := list(islice(entries, 64)):
            yield from zip(some, pool.map(_footer, [entry[0] for entry in some]), strict=True)


def _footer(path: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"inputs: {path} is no Parquet file that can be read: {error}.") from error


def _describe(files: int, name: str, size: int, why: str, cut: MiniBatchSize) -> str:
    batch = _counted(cut.value, "row") if cut.kind == "rows" else _bytes_text(cut.value)
    return f"{_counted(files, f'{name} file')}, {_bytes_text(size)} ({why}), mini-batches of {batch}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bytes_text(number: int) -> str:
    """``"1 MB"``, ``"117.2 MB"``: by 1024, as mini_batch_size counts."""
    value, unit = float(number), "bytes"
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if value < 1024 or unit == "TB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
