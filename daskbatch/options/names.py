"""The options of a run by name, for type checkers and editors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypedDict

__all__ = ["Defined", "RunOptions"]


class Defined(Protocol):
    """What has a definition for ``compute``: a `ComputeTarget`."""

    def definition(self) -> str | dict[str, Any]:
        """A name that needs none, or ``type`` and keywords."""


class RunOptions(TypedDict, total=False):
    """Keyword options of `daskbatch.run` and `daskbatch.try_`; what they mean stands there."""

    mini_batch_size: int | str | None
    input_format: str
    separator: str | None
    header: str
    encoding: str
    support_multi_line: bool
    dtype: Mapping[str, object] | Sequence[str] | str | None
    include_path: bool
    columns: Sequence[str] | str | None
    partition_format: str | None
    partition_keys: Sequence[str] | str | None
    storage_options: Mapping[str, object] | Sequence[str] | None
    output_storage_options: Mapping[str, object] | Sequence[str] | None
    script_output: str | os.PathLike[str] | None
    output_action: str
    append_row_file_name: str
    error_threshold: int | str | None
    allowed_failed_count: int | str | None
    allowed_failed_percent: float | str | None
    run_max_try: int | str
    run_invocation_timeout: float | str
    init_timeout: float | str
    read_timeout: float | str
    runner_memory_limit: int | str | None
    node_count: int | str | None
    process_count_per_node: int | str | None
    source_directory: str | os.PathLike[str] | None
    arguments: Sequence[object]
    environment_variables: Mapping[str, object] | Sequence[str] | None
    fetched: Sequence[object]
    python: str | os.PathLike[str] | None
    command_prefix: Sequence[str] | str | None
    tensorflow1: bool
    logging_level: str
    scheduler: str | os.PathLike[str] | None
    insecure: bool
    tls_ca_file: str | os.PathLike[str] | None
    tls_cert: str | os.PathLike[str] | None
    tls_key: str | os.PathLike[str] | None
    compute: str | os.PathLike[str] | Mapping[str, object] | Defined
    min_nodes: int | str
    min_nodes_timeout: float | str | None
    job_replacements: int | str
    dashboard: bool
    task_seconds: float | str | None
