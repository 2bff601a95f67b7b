"""Options as the user gives them, parsed once into a `RunSpec`.

The Python functions and the command line both come through here, so a value means the same and
is refused in the same words on both sides. Defaults live in `RunSpec` and `InputSpec`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from daskbatch.errors import UsageError
from daskbatch.options.compute import check_min_nodes, parse_compute
from daskbatch.options.compute_ssh import check_node_count
from daskbatch.options.entry import entry_point
from daskbatch.options.inputs import input_paths, partition_key_names, path_or_url
from daskbatch.options.interpreter import check_interpreter, parse_prefix, refuse_in_process
from daskbatch.options.output import check_output
from daskbatch.options.scheduler import TLS, scheduler_address, tls_files
from daskbatch.options.storage import fetched_places, output_options
from daskbatch.options.storage import storage_options as parse_storage
from daskbatch.options.tables import column_names, column_types, separator_character, text_encoding
from daskbatch.options.values import (
    byte_size,
    choice,
    environment,
    nearest,
    percent,
    result_name,
    script_arguments,
    seconds,
    whole_number,
)
from daskbatch.options.values import (
    mini_batch_size as parsed_size,
)
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.urls import is_remote, protocol_of
from daskbatch.spec import InputSpec, RunSpec
from daskbatch.store.partition_format import parse_format

__all__ = [
    "DEFAULTS",
    "INPUT_FORMATS",
    "LOGGING_LEVELS",
    "check_output",
    "make_spec",
    "scheduler_address",
]

INPUT_FORMATS = ("auto", "files", "csv", "tsv", "jsonl", "parquet")
LOGGING_LEVELS = ("WARNING", "INFO", "DEBUG")
OUTPUT_ACTIONS = ("append_row", "summary_only")
HEADERS = ("first_row", "none")

ON_A_STORE = 10.0
"""``task_seconds`` where the output lies on a store."""

_TEXT_FORMATS = ("auto", "csv", "tsv")

DEFAULTS: Mapping[str, Any] = {
    field.name: field.default for kind in (InputSpec, RunSpec) for field in fields(kind) if field.default is not MISSING
} | {"input_format": "auto", "header": "first_row", "mini_batch_size": None, "source_directory": None}
"""What an option is when it is not given, as the specs say it."""

Threshold = int | str | None
Path = str | os.PathLike[str]


def make_spec(
    entry: object,
    inputs: Path | Sequence[Path] | Mapping[str, Path | Sequence[Path] | None] | None,
    *,
    output: Path,
    mini_batch_size: int | str | None = None,
    input_format: str = DEFAULTS["input_format"],
    separator: str | None = DEFAULTS["separator"],
    header: str = DEFAULTS["header"],
    encoding: str = DEFAULTS["encoding"],
    support_multi_line: bool = DEFAULTS["support_multi_line"],
    dtype: Mapping[str, object] | Sequence[str] | str | None = None,
    include_path: bool = DEFAULTS["include_path"],
    columns: Sequence[str] | str | None = None,
    partition_format: str | None = DEFAULTS["partition_format"],
    partition_keys: Sequence[str] | str | None = None,
    storage_options: Mapping[str, object] | Sequence[str] | None = None,
    output_storage_options: Mapping[str, object] | Sequence[str] | None = None,
    script_output: Path | None = None,
    output_action: str = DEFAULTS["output_action"],
    append_row_file_name: str = DEFAULTS["append_row_file_name"],
    error_threshold: Threshold = None,
    allowed_failed_count: Threshold = None,
    allowed_failed_percent: float | str | None = None,
    run_max_try: int | str = DEFAULTS["run_max_try"],
    run_invocation_timeout: float | str = DEFAULTS["run_invocation_timeout"],
    init_timeout: float | str = DEFAULTS["init_timeout"],
    read_timeout: float | str = DEFAULTS["read_timeout"],
    runner_memory_limit: int | str | None = None,
    node_count: int | str | None = None,
    process_count_per_node: int | str | None = None,
    source_directory: Path | None = None,
    arguments: Sequence[object] = (),
    environment_variables: Mapping[str, object] | Sequence[str] | None = None,
    fetched: Sequence[object] = (),
    python: Path | None = None,
    command_prefix: Sequence[str] | str | None = None,
    tensorflow1: bool = DEFAULTS["tensorflow1"],
    logging_level: str = DEFAULTS["logging_level"],
    scheduler: Path | None = None,
    insecure: bool | None = None,
    tls_ca_file: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    compute: str | Path | Mapping[str, object] = "local",
    min_nodes: int | str | None = None,
    min_nodes_timeout: float | str | None = None,
    job_replacements: int | str | None = None,
    dashboard: bool | None = None,
    task_seconds: float | str | None = None,
    **unknown: object,
) -> RunSpec:
    """Parse and check the options of a run. Reads the entry script, writes nothing.

    Parameters
    ----------
    entry
        Path of the entry script, or a function, class or object with ``run()``.
    inputs
        Files, folders and globs; None or a Dask collection where the input is no file. A mapping of names to such:
        datasets, which are told apart.
    output
        Folder of the result; see `check_output`.

    Raises
    ------
    UsageError
        For the first value that is wrong, with what is allowed.
    """
    if unknown:
        name = min(unknown)
        # Annotations hold the public names, so that no list of them has to be kept.
        raise UsageError(f"There is no option {name!r}.{nearest(name, make_spec.__annotations__)}")
    chosen, defined = parse_compute(compute, scheduler)
    if chosen.type == "serial":
        refuse_in_process(python, command_prefix, "compute 'serial'")
    prefix = parse_prefix(command_prefix)
    other = check_interpreter(python, prefix=prefix) if prefix or python is not None else None
    place = path_or_url("output", output)
    where: dict[str, Any] = {
        "node_count": node_count,
        "process_count_per_node": process_count_per_node,
        "min_nodes": min_nodes,
        "min_nodes_timeout": min_nodes_timeout,
        "job_replacements": job_replacements,
        "dashboard": dashboard,
        "scheduler": scheduler,
        "insecure": insecure,
        **dict(zip(TLS, (tls_ca_file, tls_cert, tls_key), strict=True)),
    }
    where = defined | {name: value for name, value in where.items() if value is not None}
    nodes = _count("node_count", where.get("node_count"))
    check_node_count(chosen, nodes)
    tls = tls_files(where)
    return RunSpec(
        entry=entry_point(entry, source_directory, other.version if other else None),
        input=_input_spec(
            inputs=inputs,
            input_format=choice("input_format", input_format, INPUT_FORMATS),
            size=mini_batch_size,
            separator=separator,
            header=choice("header", header, HEADERS) == "first_row",
            encoding=encoding,
            multi_line=_switch("support_multi_line", support_multi_line),
            dtype=dtype,
            include_path=_switch("include_path", include_path),
            columns=columns,
            partition_format=partition_format,
            partition_keys=partition_keys,
            storage=storage_options,
            output=place,
        ),
        output=place,
        folder=_current_folder(),
        output_storage_options=output_options(output_storage_options, storage_options, place),
        script_output=_script_output(script_output, place),
        output_action=choice("output_action", output_action, OUTPUT_ACTIONS),
        append_row_file_name=result_name(append_row_file_name),
        error_threshold=_threshold("error_threshold", error_threshold),
        allowed_failed_count=_threshold("allowed_failed_count", allowed_failed_count),
        allowed_failed_percent=(
            None if allowed_failed_percent is None else percent("allowed_failed_percent", allowed_failed_percent)
        ),
        run_max_try=whole_number("run_max_try", run_max_try, 1, note=" It counts the first try too."),
        run_invocation_timeout=seconds("run_invocation_timeout", run_invocation_timeout),
        init_timeout=seconds("init_timeout", init_timeout),
        read_timeout=seconds("read_timeout", read_timeout),
        runner_memory_limit=(
            None if runner_memory_limit is None else byte_size("runner_memory_limit", runner_memory_limit)
        ),
        node_count=nodes,
        process_count_per_node=_count("process_count_per_node", where.get("process_count_per_node")),
        arguments=script_arguments(arguments),
        environment_variables=() if environment_variables is None else environment(environment_variables),
        fetched=fetched_places(fetched, storage_options),
        python=other.path if other and python is not None else None,
        command_prefix=prefix,
        tensorflow1=_switch("tensorflow1", tensorflow1),
        logging_level=choice("logging_level", logging_level, LOGGING_LEVELS),
        compute=chosen,
        min_nodes=check_min_nodes(
            chosen, whole_number("min_nodes", where.get("min_nodes", DEFAULTS["min_nodes"]), 1), nodes
        ),
        min_nodes_timeout=_optional_seconds("min_nodes_timeout", where.get("min_nodes_timeout")),
        job_replacements=whole_number(
            "job_replacements", where.get("job_replacements", DEFAULTS["job_replacements"]), 0
        ),
        scheduler=None if "scheduler" not in where else scheduler_address(where["scheduler"]),
        insecure=_switch("insecure", where.get("insecure", DEFAULTS["insecure"])),
        tls_ca_file=tls.get("tls_ca_file"),
        tls_cert=tls.get("tls_cert"),
        tls_key=tls.get("tls_key"),
        dashboard=_switch("dashboard", where.get("dashboard", DEFAULTS["dashboard"])),
        task_seconds=_task_seconds(task_seconds, place),
    )


def _input_spec(
    *,
    inputs: object,
    input_format: str,
    size: int | str | None,
    separator: str | None,
    header: bool,
    encoding: str,
    multi_line: bool,
    dtype: object,
    include_path: bool,
    columns: Sequence[str] | str | None,
    partition_format: str | None,
    partition_keys: Sequence[str] | str | None,
    storage: object,
    output: str,
) -> InputSpec:
    """The input's own options, and that they go together as far as the format is known."""
    paths, datasets = input_paths(inputs)
    parsed = None if size is None else parsed_size(size)
    if input_format == "files" and parsed and parsed.kind != "files":
        raise UsageError(
            f"mini_batch_size must be a count of files such as 10 for input_format 'files', got"
            f" {size!r}. Sizes in bytes and rows are for tables."
        )
    for name, given in (
        ("separator", separator is not None),
        ("header", not header),
        ("support_multi_line", multi_line),
    ):
        if given and input_format not in _TEXT_FORMATS:
            raise UsageError(f"{name} is for csv and tsv, but input_format is {input_format!r}. Leave one of them out.")
    for name, given in (("dtype", bool(dtype)), ("include_path", include_path), ("columns", columns is not None)):
        if given and input_format == "files":
            raise UsageError(f"{name} is for tables, but input_format is 'files'. Leave one of them out.")
    if columns is not None and not paths:
        raise UsageError(
            "columns is for files; of a Dask dataframe give the columns themselves, such as ddf[['id', 'price']]."
        )
    form = None if partition_format is None else parse_format(partition_format).text
    return InputSpec(
        paths=paths,
        input_format=input_format,
        mini_batch_size=parsed,
        separator=None if separator is None else separator_character(separator),
        header=header,
        encoding=text_encoding(encoding),
        support_multi_line=multi_line,
        dtype=() if dtype is None else column_types(dtype),
        include_path=include_path,
        columns=() if columns is None else column_names(columns),
        partition_format=form,
        partition_keys=partition_key_names(partition_keys, form=form, size=size, has_files=bool(paths)),
        storage_options=_own_options(storage, paths, output),
        datasets=datasets,
    )


def _task_seconds(given: float | str | None, output: str) -> float:
    """On a store the results of a task are an object, and a run of hours would make too many small ones."""
    if given is None:
        return ON_A_STORE if is_remote(output) else float(DEFAULTS["task_seconds"])
    return seconds("task_seconds", given, 3600)


def _own_options(storage: object, paths: tuple[str, ...], output: str) -> StorageOptions:
    """Of the input's store; where the input is files, they are the output's."""
    is_objects = bool(paths) and is_remote(paths[0])
    return parse_storage(storage, paths) if is_objects or not is_remote(output) else ()


def _script_output(given: Path | None, output: str) -> str | None:
    """A folder, or a URL in the store of the output."""
    if given is None:
        return None
    place = path_or_url("script_output", given)
    if is_remote(place) and protocol_of(place) != protocol_of(output):
        raise UsageError(
            f"script_output {place!r} must lie in the store of output {output!r}, or be a folder. Next: name a folder"
            " of that store, or leave it out: it is the output then."
        )
    return place


def _current_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise UsageError("The current folder does not exist any more. Change to one that does.") from None


def _threshold(name: str, value: Threshold) -> int | None:
    if value is None:
        return None
    return whole_number(name, value, -1, note=" -1 lets any number fail.")


def _count(name: str, value: int | str | None) -> int | None:
    return None if value is None else whole_number(name, value, 1)


def _switch(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be True or False, got {value!r}.")
    return value


def _optional_seconds(name: str, value: float | str | None) -> float | None:
    return None if value is None else seconds(name, value)
