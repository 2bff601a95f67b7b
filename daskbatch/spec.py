"""RunSpec: the options of one run, parsed and checked. Bytes and seconds are numbers here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from daskbatch.types import MiniBatchSize

__all__ = ["DEFAULT_BYTES", "DEFAULT_FILES", "Compute", "EntryPoint", "Fetched", "InputSpec", "RunSpec"]

DEFAULT_FILES = MiniBatchSize("files", 10)
DEFAULT_BYTES = MiniBatchSize("bytes", 1024**2)
"""ParallelRunConfig's defaults."""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """Where the user's ``run`` is."""

    script: str | None
    """Absolute path of the entry script, or None for an object."""
    source_directory: str | None
    """Absolute path of the folder that is snapshotted, or None: the script runs in its own folder."""
    pickled: bytes | None
    """A function or class, by cloudpickle. Only ever loaded in a runner."""
    name: str
    """For messages: the script's path or the object's qualified name."""
    digest: str | None = None
    """Of an object, by content: equal for the same code in another process. None for a script."""


class Fetched(NamedTuple):
    """What a script needs from elsewhere: a local copy, made once for each node."""

    url: str
    """As it stands in ``arguments`` and ``environment_variables``; of a source directory its archive's, or its path."""
    kind: str
    """One of `daskbatch.worker.node_files.KINDS`."""
    token: str = ""
    """What changes with the content: an etag, or a digest of all below a prefix."""
    options: tuple[tuple[str, str | bool], ...] = ()
    """How the store is reached. No secrets."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The input as the user declared it."""

    paths: tuple[str, ...]
    """Files, folders and globs, absolute, in the order given. Empty for a Dask dataframe."""
    input_format: str
    """``"auto"``, ``"files"``, ``"csv"``, ``"tsv"``, ``"jsonl"`` or ``"parquet"``."""
    mini_batch_size: MiniBatchSize | None
    """None: 10 files, or 1 MiB of a table."""
    separator: str | None = None
    """One character; None: comma for csv, tab for tsv."""
    header: bool = True
    encoding: str = "utf-8"
    support_multi_line: bool = False
    dtype: tuple[tuple[str, str], ...] = ()
    """(column, type name) pairs as the user gave them."""
    include_path: bool = False
    """A table's rows have a column ``Path``."""
    columns: tuple[str, ...] = ()
    """Those of a table that are read, in this order. Empty: all."""
    partition_format: str | None = None
    """What paths say, for `daskbatch.store.partition_format`; its keys are columns of a table's rows."""
    partition_keys: tuple[str, ...] = ()
    """Some keys of `partition_format`: each combination of their values is one mini-batch. Empty: cut by size."""
    storage_options: tuple[tuple[str, str | bool], ...] = ()
    """How the store of `paths` is reached, where they are URLs. No secrets."""
    datasets: tuple[tuple[str, int], ...] = ()
    """Name of each dataset, and how many of `paths` are its own. No mini-batch is of two. Empty: one without a name."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Where the Dask workers of a run come from."""

    type: str
    """``"local"``, which a `RunSpec.scheduler` changes, or ``"serial"``; a batch queue: ``"slurm"``, ``"pbs"``,
    ``"sge"``, ``"lsf"``, ``"oar"``, ``"moab"`` or ``"htcondor"``; or ``"ssh"``: hosts."""
    name: str = ""
    """As the user gave it."""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    """dask-jobqueue's own, for a job of a queue; those of ``distributed.SSHCluster``."""

    @property
    def is_ssh(self) -> bool:
        """Whether the workers are on hosts that are reached over SSH."""
        return self.type == "ssh"

    @property
    def is_queue(self) -> bool:
        """Whether the workers are jobs of a batch queue."""
        return self.brings_workers and not self.is_ssh

    @property
    def brings_workers(self) -> bool:
        """Whether there are workers for this run alone: jobs of a queue, or processes on hosts."""
        return self.type not in ("local", "serial")

    @property
    def default_node_count(self) -> int:
        """How many jobs or hosts are wanted where nothing is said: all the hosts."""
        return len(self.keywords["hosts"]) if self.is_ssh else 1

    @property
    def public(self) -> str | dict[str, Any]:
        """As the user may give it."""
        return {"type": self.type, "name": self.name, **self.keywords} if self.brings_workers else self.type


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything that a run needs to know, frozen."""

    entry: EntryPoint
    input: InputSpec
    output: str
    """Absolute path of the output folder, or the URL that stands for it."""
    folder: str
    """Absolute path of the caller's working directory, which relative paths in `arguments` start from."""
    output_storage_options: tuple[tuple[str, str | bool], ...] = ()
    """How the store of `output` is reached, where it is a URL. No secrets."""
    script_output: str | None = None
    """Absolute path or URL of the folder for what the script writes; None: the output folder."""
    output_action: str = "append_row"
    """``"append_row"`` or ``"summary_only"``."""
    append_row_file_name: str = "predictions.csv"
    error_threshold: int | None = None
    """Items that may fail; -1: all. None: not given."""
    allowed_failed_count: int | None = None
    """Mini-batches that may fail; -1: all. None: not given."""
    allowed_failed_percent: float | None = None
    """The same in percent of all mini-batches."""
    run_max_try: int = 3
    run_invocation_timeout: float = 60.0
    """Seconds."""
    init_timeout: float = 600.0
    """Seconds for start, import and ``init()``."""
    read_timeout: float = 300.0
    """Seconds to read one mini-batch."""
    shutdown_timeout: float = 10.0
    """Seconds for ``shutdown()``."""
    runner_memory_limit: int | None = None
    """Bytes for a slot's whole process tree; None: the node's memory / slots."""
    node_count: int | None = None
    process_count_per_node: int | None = None
    """None: the usable cores."""
    arguments: tuple[str, ...] = ()
    environment_variables: tuple[tuple[str, str], ...] = ()
    fetched: tuple[Fetched, ...] = ()
    """Of URLs in `arguments` and `environment_variables`: the script is told local paths instead."""
    python: str | None = None
    """Absolute path of the runners' interpreter; None: the workers' own."""
    command_prefix: tuple[str, ...] = ()
    """Command that the runners' interpreter is started by; see `daskbatch.worker.prefix`."""
    tensorflow1: bool = False
    """In runners, ``import tensorflow`` gives TensorFlow 1's names where version 2 is installed."""
    logging_level: str = "INFO"
    compute: Compute = Compute("local")
    min_nodes: int = 1
    """Jobs of the queue, or hosts, whose workers must be there before the work begins."""
    min_nodes_timeout: float | None = None
    """Seconds until fewer are an error; None: no limit."""
    job_replacements: int = 100
    """Jobs of the queue that have ended before their time and are replaced, at most; workers of hosts too."""
    scheduler: str | None = None
    """Address or scheduler file of a Dask cluster that is already there."""
    insecure: bool = False
    """It may be on another machine, and without TLS."""
    tls_ca_file: str | None = None
    """Absolute path; with `tls_cert` and `tls_key`. None: what Dask's configuration says."""
    tls_cert: str | None = None
    tls_key: str | None = None
    dashboard: bool = False
    task_seconds: float = 2.0
    """Time budget of a task: what is lost at most when everything dies."""

    @property
    def script_folder(self) -> str:
        """What the script is told to write to."""
        return self.script_output or self.output
