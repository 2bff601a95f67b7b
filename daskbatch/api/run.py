"""``daskbatch.run``: what scripts, notebooks and the command line call."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from daskbatch.api.compute_definition import with_definition
from daskbatch.api.inputs import resolve_inputs
from daskbatch.api.store_path import StorePath
from daskbatch.errors import UsageError
from daskbatch.events import Listener
from daskbatch.layout import FAILED_ITEMS, RUN_SUMMARY
from daskbatch.options import check_output, make_spec
from daskbatch.options.inputs import path_or_url
from daskbatch.options.names import RunOptions
from daskbatch.options.scheduler import refuse_open_scheduler
from daskbatch.options.storage import output_options
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.urls import is_remote
from daskbatch.report import default_listeners
from daskbatch.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from daskbatch.engine.begin import Beginning

__all__ = ["Run", "execute_spec", "run"]


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """What a run left in its output folder."""

    output: Path | StorePath
    """The output folder, on a disk or on a store."""
    summary: Mapping[str, Any]
    """The content of ``run_summary.json``."""
    reused: bool = False
    """Nothing was run: the result of the very same run was there."""

    @classmethod
    def open(
        cls, output: str | os.PathLike[str], storage_options: Mapping[str, object] | Sequence[str] | None = None
    ) -> Run:
        """The run whose output folder this is.

        Parameters
        ----------
        output : path or URL
        storage_options : mapping, optional
            How the store is reached, where it is a URL.

        Raises
        ------
        UsageError
            There is no summary in it.
        """
        place = path_or_url("output", output)
        path = _place(place, output_options(storage_options, None, place))
        try:
            return cls(path, json.loads((path / RUN_SUMMARY).read_text()))
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(
                f"{os.fspath(output)!r} holds no {RUN_SUMMARY}. Give the output folder of a run that has ended."
            ) from None

    def __repr__(self) -> str:
        items = self.summary["items"]
        return f"<Run {self.status}: {items['succeeded']} of {items['total']} items, in {str(self.output)!r}>"

    @property
    def status(self) -> str:
        """``"Completed"``, ``"Failed"`` or ``"Canceled"``."""
        return str(self.summary["status"])

    @property
    def output_file(self) -> Path | StorePath | None:
        """The combined file; the partial one of a run that is not complete; None if there is none."""
        output = self.summary["output"]
        return None if output is None else self.output / output["name"]

    def to_pandas(self) -> pd.DataFrame:
        """Read the combined file.

        Numbers become numbers; texts stay as they are, ``01234`` and ``NA`` too; what is blank is missing. A text
        file is taken as ParallelRunStep's users do: columns without names, separated by spaces.

        Raises
        ------
        UsageError
            There is none, as with ``output_action="summary_only"``.
        """
        import pandas as pd

        path = self.output_file
        if path is None:
            raise UsageError(f"the run in {str(self.output)!r} has no combined file (status {self.status})")
        with path.open("rb") as file:
            if path.suffix == ".parquet":
                return pd.read_parquet(file)
            if path.suffix == ".jsonl":
                return pd.DataFrame([json.loads(line) for line in file])
            if path.suffix == ".csv":
                return _read_csv(file)
            return pd.read_csv(file, sep=" ", header=None)

    def failed_items(self) -> list[dict[str, Any]]:
        """Every failed item or mini-batch: identity, error, message, traceback, tries, worker."""
        path = self.output / FAILED_ITEMS
        if not path.exists():
            return []
        with path.open("rb") as lines:
            return [json.loads(line) for line in lines]


def run(
    entry: object,
    inputs: object,
    *,
    output: str | os.PathLike[str],
    fresh: bool = False,
    allow_reuse: bool = True,
    retry_failed: bool = False,
    client: Client | None = None,
    progress: bool = True,
    listeners: Sequence[Listener] | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """Run an entry script, function or class over all inputs, into one result.

    The same call again goes on with a run that was stopped or killed, and finds the result of one that is complete.

    Parameters
    ----------
    entry : path, function or class
        A Python script with ``run(mini_batch)`` and, if it likes, ``init()`` and ``shutdown()``; or a function, which
        is ``run``; or a class, whose constructor is ``init``.
    inputs : path, list of paths, dataset or dask dataframe
        Files, folders and globs. Or a `FileDataset`, a `TabularDataset`, a Dask dataframe. Or several: a list of
        datasets, or a mapping of names to datasets or paths. No mini-batch is of two; ``context.dataset`` is the name:
        that in the mapping, of the named input or of the registered dataset, else ``"input0"`` and so on by its place
        in the list. It is None for one dataset without a name.
    output : path or URL
        Folder of the result, the logs and the summary: a new one, or that of the same run. On a disk, or on a store,
        such as ``"s3://bucket/out"``.
    fresh : bool
        Discard the run in the output folder, whatever it is, and begin anew. Its result stays until the new one is
        there.
    allow_reuse : bool
        Take the result of a completed run with the same script, options and input. False: run anew.
    retry_failed : bool
        Try the mini-batches that have finally failed again; the result is then whole.
    client : distributed.Client, optional
        Runs on its cluster, which is left as it was found. By default this process is the cluster.
    progress : bool
        Show a bar, or lines where there is no terminal.
    listeners : sequence of callables, optional
        Take every event of `daskbatch.events`, in place of the default ones, which write the logs too.
    **options
        mini_batch_size : int or str
            ``10`` files; of tables ``"1MB"``, ``"512KB"``, bytes or ``"5000rows"``. Default: 10 files or ``"1MB"``.
        input_format : str
            ``"auto"`` (by suffix), ``"files"``, ``"csv"``, ``"tsv"``, ``"jsonl"`` or ``"parquet"``.
        separator, header, encoding, support_multi_line, dtype
            How text tables are read: one character; ``"first_row"`` or ``"none"``; a codec; whether quoted fields may
            hold newlines; ``{"column": "int64"}``.
        include_path : bool
            Rows of tables get a column ``Path`` in front, with their file's path.
        columns : list of str
            Columns of tables that are read, in this order. Other columns may differ from file to file. Of Parquet
            their pages alone are read, and a `mini_batch_size` in bytes counts theirs; of text it counts whole lines.
        partition_format : str
            What the end of each path says, such as ``"/{store}/{day:yyyy-MM-dd}/*.csv"``. Its keys become columns
            behind those of a table: strings, or datetimes where a pattern is given.
        partition_keys : list of str
            In place of `mini_batch_size`: some of the keys of `partition_format`. All files of one combination of
            their values, or all their rows in one DataFrame, are one mini-batch, in the order in which combinations
            first appear; ``context.partition_key_value`` has the values.
        storage_options, output_storage_options : mapping
            How the stores of URLs among the inputs, and of `output`, are reached: ``endpoint_url``, ``profile``,
            ``region``, ``anon``. No secrets. Those of the output are by default those of the inputs.
        script_output : path or URL
            Folder for what `entry` writes itself: ``EntryScript().output_dir``. Default: `output`.
        output_action : str
            ``"append_row"`` (all results into one file) or ``"summary_only"``.
        append_row_file_name : str
            Default ``"predictions.csv"``; its suffix chooses the format: .csv, .jsonl, .parquet, .txt.
        error_threshold, allowed_failed_count, allowed_failed_percent
            Items, mini-batches, percent of mini-batches that may fail; -1 of the first two: all. Not given: the run
            goes on, unless its first 20 mini-batches all fail.
        run_max_try : int
            Tries of a mini-batch in total. Default 3.
        run_invocation_timeout, init_timeout, read_timeout : float
            Seconds for ``run()``, for start and ``init()``, for reading a mini-batch. Default 60, 600, 300.
        runner_memory_limit : int or str
            For a slot's whole process tree, such as ``"4GB"``. Default: the node's memory / slots.
        node_count, process_count_per_node : int
            Hosts, and slots on each. Default: all there are; the usable cores.
        source_directory : path
            Folder that is copied for the workers; `entry` is relative to it.
        arguments : sequence
            What the script finds in ``sys.argv``.
        environment_variables : mapping
            Set in the runners.
        fetched : sequence of str
            URLs of objects, prefixes or globs that each node fetches before `entry` starts. Where one stands among
            `arguments` or `environment_variables`, `entry` is told the path of the copy. They are reached as
            `storage_options` says.
        python : path
            Another interpreter for the processes that run `entry`, 3.9 or later, such as a virtual environment's. It
            needs pandas and pyarrow for tables, and nothing for files. A class or function must be of the same version.
        command_prefix : str or list of str
            Command that starts that interpreter, such as ``"apptainer exec --nv --bind {folders} image.sif"``, where
            ``{folders}`` are the folders that it needs, by commas. It must hand on open files; docker does not.
        tensorflow1 : bool
            Where TensorFlow 2 is installed, ``import tensorflow`` in `entry` is ``tensorflow.compat.v1``, version 2's
            behavior off.
        logging_level : str
            ``"WARNING"``, ``"INFO"`` or ``"DEBUG"``.
        scheduler : str
            Address or scheduler file of a Dask cluster that is already there.
        insecure : bool
            It may be on another machine without TLS, where anybody in the network can run code and read data.
        tls_ca_file, tls_cert, tls_key : str
            Files for a ``tls://`` address. Default: what Dask's configuration says.
        compute : str, path, mapping or ComputeTarget
            ``"local"``; ``"serial"``: everything in this process, one after the other; or a batch queue or hosts over
            SSH: the name of a compute target of the workspace, a YAML file, or a mapping, see ``docs/hpc.md``. Each job
            or host is one Dask worker, ``node_count`` their number, ``process_count_per_node`` the slots of each.
        min_nodes, min_nodes_timeout : int, float
            Jobs or hosts whose workers must be there before the work begins, and seconds until fewer are an error.
            Default 1, and no limit.
        job_replacements : int
            How many jobs, or workers on hosts, that end or are killed before their time are replaced. Default 100.
        dashboard : bool
            Have Dask's dashboard, on loopback.
        task_seconds : float
            Time budget of a task. Default 2, and 10 with an output on a store. With more than 300 slots at
            least a second for each 300, so that the scheduler comes along.

    Returns
    -------
    Run

    Raises
    ------
    UsageError
        Before anything is started: an option, the script, the input or the output folder is wrong.
    OutputInUse, RunChanged
        These are UsageErrors too: another run is going on in the output folder, or was begun there with another
        script, option or input.
    RunFailed
        A threshold was crossed, ``init()`` failed, nothing was returned. The results so far have a partial name.
    RunCanceled
        Ctrl-C or SIGTERM.

    Examples
    --------
    >>> run = daskbatch.run("score.py", "photos/*.png", output="out")  # doctest: +SKIP
    >>> run.to_pandas()  # doctest: +SKIP
    """
    from daskbatch.engine.begin import Beginning

    given, collection = resolve_inputs(inputs, options)
    spec = make_spec(entry, given, output=output, **with_definition(options))
    how = Beginning(fresh, allow_reuse, retry_failed)
    return execute_spec(spec, how, client=client, collection=collection, progress=progress, listeners=listeners)


def execute_spec(
    spec: RunSpec,
    how: Beginning,
    *,
    client: Client | None = None,
    collection: Any = None,
    progress: bool = True,
    listeners: Sequence[Listener] | None = None,
) -> Run:
    """Run what has been parsed already; see `run`."""
    from daskbatch.engine.run import execute

    _check_client(client, spec)
    refuse_open_scheduler(spec)
    if collection is not None and spec.compute.type == "serial":
        raise UsageError("compute='serial' reads files in this process; a Dask dataframe needs Dask. Leave it out.")
    check_output(spec)
    if listeners is None:
        listeners = default_listeners(spec.output, quiet=not progress, ending_traceback=False)
    summary = execute(spec, listeners, client, collection, how)
    reused = summary.pop("reused", False)
    return Run(_place(spec.output, spec.output_storage_options), summary, reused)


def _check_client(client: object, spec: RunSpec) -> None:
    if client is None:
        return
    if not hasattr(client, "scheduler_info"):
        raise UsageError(
            f"client must be a distributed.Client, got {client!r}. An address goes into scheduler=, or Client(...)."
        )
    for name, given in (("scheduler", spec.scheduler), ("compute", spec.compute.name or spec.compute.type)):
        if given not in (None, "local"):
            raise UsageError(f"client and {name}={given!r} both say where to run. Leave one out.")


def _place(output: str, options: StorageOptions) -> Path | StorePath:
    return StorePath(output, options) if is_remote(output) else Path(output)


def _read_csv(file: BinaryIO) -> pd.DataFrame:
    """A result as it was written: pandas by itself would make a number of ``01234`` and nothing of ``NA``."""
    import pandas as pd

    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    for name in frame.columns:
        column = frame[name]
        filled = column[column != ""]
        frame[name] = column.where(column != "")
        if filled.empty or filled.str.match(r"-?0\d").any():
            continue
        if filled.isin(["True", "False"]).all() and len(filled) == len(column):
            frame[name] = column == "True"
            continue
        try:
            frame[name] = pd.to_numeric(filled).reindex(column.index)
        except ValueError:
            continue
    return frame
