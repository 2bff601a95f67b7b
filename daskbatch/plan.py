"""Cut an input into mini-batches: what to read, not what is in it. Knows no Dask.

The plan lies in a file, a line for each input file, and is read back lazily: a million files or
mini-batches never lie in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from daskbatch.errors import InputError
from daskbatch.plan_cuts import cut_parquet, cut_plan, cut_text, read_lines
from daskbatch.plan_groups import cut_groups, group_plan
from daskbatch.plan_inputs import InputState
from daskbatch.plan_listing import Entry, Storage
from daskbatch.plan_opening import open_entry, parquet_source, read_parquet_footer
from daskbatch.plan_record import Plan
from daskbatch.plan_sources import Sources
from daskbatch.spec import DEFAULT_BYTES, DEFAULT_FILES, InputSpec
from daskbatch.store.footers import ParquetSchema, count_cuts
from daskbatch.store.inputs_path import PathColumns
from daskbatch.store.inputs_text import is_scanned, is_stream
from daskbatch.store.partition_format import parse_format
from daskbatch.types import WHOLE_FILES, MiniBatch, MiniBatchSize, TableFormat

__all__ = ["Plan", "make_plan", "read_plan"]

_AT_ONCE = 4096
"""Files that are written to a plan at once."""

_SOON = 100
"""The same where somebody waits for the first of them: a part of what a store tells in one answer."""

_GZIP_RATIO = 4
"""A guess at how much text a gzip file holds, for estimates alone."""


def make_plan(
    spec: InputSpec,
    path: Path,
    listed: tuple[int, str] | None = None,
    advance: Callable[[InputState], None] | None = None,
) -> Plan:
    """List the input, find its schema, and write the plan to `path`.

    Parameters
    ----------
    spec
        The input as declared.
    path
        The plan file; replaced where it exists.
    listed
        What an earlier listing that was broken off had found; see `Tally`.
    advance
        Told, of an input of whole files, whenever the lines of some more of them are in the plan file.

    Raises
    ------
    InputChanged
        Where `listed` is not how this listing begins.
    InputError
        Where the input is missing, empty, unreadable, of mixed formats, or its files have different columns.
    """
    sources = Sources(spec, listed)
    size = _fitting_size(spec.mini_batch_size, sources.format)
    try:
        _refuse_unfit_options(spec, sources.format)
        if sources.format == "files":
            plan = _plan_files(sources, size, path, advance)
        else:
            table = _table_format(spec, sources.format, size)
            plan_tables = _plan_parquet if table.format == "parquet" else _plan_text
            plan = plan_tables(sources, table, path, spec.storage_options)
        return _cut(replace(plan, storage=spec.storage_options), spec, sources)
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
    if plan.keys:
        return cut_groups(str(plan.path), 0 if plan.table is None else WHOLE_FILES)
    if plan.table is None:
        return cut_plan(str(plan.path), plan.size.value, [files for _, files in plan.datasets] or [plan.files])
    lines = read_lines(str(plan.path))
    if plan.format == "parquet":
        return cut_parquet(lines, plan.size)
    return cut_text(lines, plan.table, plan.storage)


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
        ("columns", bool(spec.columns), ("csv", "tsv", "jsonl", "parquet")),
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
        selection=spec.columns,
    )


def _cut(plan: Plan, spec: InputSpec, sources: Sources) -> Plan:
    """What is the same for all formats: the datasets, and the combinations of keys."""
    datasets = tuple(zip(sources.names, sources.counts, strict=False))
    told = plan.description
    if len(datasets) > 1:
        told += f" in {len(datasets)} datasets ({', '.join(f'{name} {files:,}' for name, files in datasets)})"
    plan = replace(plan, datasets=datasets)
    if not spec.partition_keys:
        return replace(plan, description=f"{told}, mini-batches of {_size_text(plan.size)}")
    assert spec.partition_format is not None
    count = group_plan(plan.path, parse_format(spec.partition_format), spec.partition_keys, sources.counts)
    each = f"one mini-batch for each of {count:,} combinations" if count > 1 else "one mini-batch, the only combination"
    return replace(
        plan,
        mini_batches=count,
        estimate=count,
        description=f"{told}, {each} of {', '.join(spec.partition_keys)}",
        keys=spec.partition_keys,
        partition_format=spec.partition_format,
    )


def _plan_files(
    sources: Sources, size: MiniBatchSize, path: Path, advance: Callable[[InputState], None] | None
) -> Plan:
    with path.open("w", encoding="ascii") as file:
        for lines in sources.lines(_AT_ONCE if advance is None else _SOON):
            file.write(lines)
            if advance is not None:
                file.flush()
                advance(sources.tally.state())
    found = sources.tally.end()
    count = sum(-(-files // size.value) for files in sources.counts)
    head = f"{_counted(found.files, 'file')} ({sources.why})"
    return Plan(path, "files", None, size, found.files, count, count, found.bytes, head, (), found)


def _write(file: TextIO, line: object) -> None:
    file.write(json.dumps(line, separators=(",", ":")) + "\n")


def _plan_text(sources: Sources, table: TableFormat, path: Path, storage: Storage) -> Plan:
    files = input_bytes = plain_bytes = ranges = 0
    streams = False
    with path.open("w", encoding="ascii") as file:
        for entry in sources.tables():
            _write(file, entry)
            files += 1
            input_bytes += entry[1]
            stream = is_stream(entry[0], table)
            streams |= stream
            text = entry[1] * _GZIP_RATIO if entry[0].lower().endswith(".gz") else entry[1]
            plain_bytes += text
            ranges += -(-text // table.size.value)
    table, record_bytes = _with_schema(path, files, table, storage)
    if table.size.kind == "rows":
        ranges = max(files, round(plain_bytes / record_bytes / table.size.value))
    exact = not streams and not is_scanned(table)
    head = _table_head(sources, sources.format, files, input_bytes)
    return Plan(
        path, table.format, table, table.size, files, ranges if exact else None, ranges, input_bytes, head,
        tuple(sources.skipped), sources.tally.end(),
    )  # fmt: skip


def _with_schema(path: Path, files: int, table: TableFormat, storage: Storage) -> tuple[TableFormat, float]:
    """The table with its columns, from samples; and the mean length of a record."""
    from daskbatch.store.schema import sample_text, sampled_places

    places = set(sampled_places(files))
    entries = {line[0]: line for place, line in enumerate(read_lines(str(path))) if place in places}
    paths = list(entries)
    sample = sample_text(paths, table, lambda path: open_entry(entries[path], storage))
    if not sample.records and len(paths) == files:
        others = f", nor has any other of the {files} tables" if files > 1 else ""
        raise InputError(f"inputs: {paths[0]} has no rows{others}. Next: check the path.")
    PathColumns(table).refuse_taken((name for name, _ in sample.columns), sample.schema_from)
    fields = 0 if table.header or not table.selection else sample.fields
    table = table._replace(columns=sample.columns, schema_from=sample.schema_from, fields=fields)
    return table, max(sample.record_bytes, 1.0)


def _plan_parquet(sources: Sources, table: TableFormat, path: Path, storage: Storage) -> Plan:
    from daskbatch.store.schema import apply_dtype

    files = input_bytes = count = rows = 0
    schema = ParquetSchema(table)
    with path.open("w", encoding="ascii") as file:
        for entry, metadata in _footers(sources.tables(), storage):
            groups = schema.add(entry[0], metadata, partial(parquet_source, entry, storage))
            _write(file, [*entry, groups])
            files += 1
            input_bytes += entry[1]
            rows += metadata.num_rows
            count += count_cuts(groups, table.size)
    if not rows:
        raise InputError(f"inputs: {schema.first} has no rows, nor has any other of the {files} Parquet files.")
    columns = apply_dtype(schema.columns(), table, schema.first, schema.names)
    table = table._replace(columns=columns, schema_from=schema.first)
    PathColumns(table).refuse_taken((name for name, _ in table.columns), schema.first)
    head = _table_head(sources, "parquet", files, input_bytes)
    return Plan(
        path, "parquet", table, table.size, files, count, count, input_bytes, head, tuple(sources.skipped),
        sources.tally.end(),
    )  # fmt: skip


def _footers(entries: Iterator[Entry], storage: Storage) -> Iterator[tuple[Entry, Any]]:
    """Entries with their footers, in order. Several are fetched at once: on a network disk each takes a while."""
    with ThreadPoolExecutor(8, thread_name_prefix="daskbatch-footers") as pool:
        while some := list(islice(entries, 64)):
            yield from zip(some, pool.map(partial(read_parquet_footer, storage=storage), some), strict=True)


def _table_head(sources: Sources, name: str, files: int, size: int) -> str:
    return f"{_counted(files, f'{name} file')}, {_bytes_text(size)} ({sources.why})"


def _size_text(size: MiniBatchSize) -> str:
    if size.kind == "bytes":
        return _bytes_text(size.value)
    return _counted(size.value, "row" if size.kind == "rows" else "file")


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
