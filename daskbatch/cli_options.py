"""The options that commands share, as a table: help text, unit and default of each.

Values go on as text: `daskbatch.options` parses and refuses them, for Python and here alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import click

from daskbatch.options import DEFAULTS, INPUT_FORMATS, LOGGING_LEVELS
from daskbatch.options.identity import GROUPS, Group

__all__ = ["FREE", "OPTIONS", "Option", "given", "given_inputs", "with_inputs", "with_options"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of ``run``, under the name it has in Python."""

    name: str
    metavar: str
    """Its unit or choices; empty for a switch."""
    help: str
    default: str | None = None
    """For people, where the default is worked out; None: `DEFAULTS` says it."""
    multiple: bool = False
    """May be given several times."""
    in_try: bool = True
    """Matters to ``try``, which runs one mini-batch here and writes nothing."""


OPTIONS = (
    Option(
        "mini_batch_size",
        "SIZE",
        "What one run() call gets. Files: a count such as 10. Tables: 512KB, 1MB, bytes, or 5000rows;"
        " K, M and G count by 1024.",
        default="10 files, or 1MB of a table",
    ),
    Option("input_format", "|".join(INPUT_FORMATS), "What the inputs are; auto goes by their suffixes."),
    Option(
        "separator",
        "CHARACTER",
        "Between the fields of a text table: one character, or tab, comma, semicolon, pipe, space.",
        default="a comma for csv, a tab for tsv",
    ),
    Option("header", "first_row|none", "Whether the first row of each text table holds the column names."),
    Option("encoding", "NAME", "Encoding of text tables, such as utf-8 or latin-1."),
    Option("support_multi_line", "", "Quoted fields may hold newlines. Costs one more pass over the text."),
    Option(
        "dtype",
        "COLUMN=TYPE,...",
        "Types of columns, such as id=int64,name=string; they win over what the data look like.",
        default="by a sample of the data",
        multiple=True,
    ),
    Option("include_path", "", "Rows of tables get a column Path in front, with their file's path."),
    Option(
        "columns",
        "NAME,...",
        "Columns of tables that run() gets, in this order; of Parquet no others are read.",
        default="all",
    ),
    Option(
        "partition_format",
        "FORMAT",
        "What paths say, such as '/{store}/{day:yyyy-MM-dd}/*.csv': its keys become columns of a table's rows.",
        default="none",
    ),
    Option(
        "partition_keys",
        "KEY,...",
        "Keys of --partition-format: each combination of their values is one mini-batch.",
        default="none, but mini-batches of a size",
    ),
    Option(
        "storage_options",
        "NAME=VALUE",
        "How the store of s3:// and other URLs is reached: endpoint_url, profile, region, anon. No secrets: credentials"
        " come from the environment, a profile or a role.",
        default="as its client finds",
        multiple=True,
    ),
    Option(
        "output_storage_options",
        "NAME=VALUE",
        "The same for the store of --output, where it is a URL.",
        default="those of --storage-options",
        multiple=True,
        in_try=False,
    ),
    Option(
        "script_output",
        "FOLDER",
        "Folder for what your code writes itself: EntryScript().output_dir.",
        default="that of --output",
        in_try=False,
    ),
    Option(
        "output_action",
        "append_row|summary_only",
        "append_row: all that run() returned into one file. summary_only: it is only counted.",
        in_try=False,
    ),
    Option(
        "append_row_file_name",
        "NAME",
        "Name of the result in the output folder. Its suffix chooses the format: .csv, .jsonl, .parquet, or .txt.",
    ),
    Option(
        "error_threshold",
        "COUNT",
        "Rows or files that may fail; one more stops the run. -1: any number.",
        default="no limit, but stop if the first 20 mini-batches all fail",
        in_try=False,
    ),
    Option(
        "allowed_failed_count",
        "COUNT",
        "Mini-batches that may fail; one more stops the run. -1: any number.",
        default="as for --error-threshold",
        in_try=False,
    ),
    Option(
        "allowed_failed_percent",
        "PERCENT",
        "Percent of all mini-batches that may fail, from 0 to 100.",
        default="as for --error-threshold",
        in_try=False,
    ),
    Option("run_max_try", "COUNT", "Tries that a mini-batch gets, the first included.", in_try=False),
    Option(
        "run_invocation_timeout",
        "SECONDS",
        "Time that one run() call gets, up to 259200. Then its process is killed and the try has failed.",
        in_try=False,
    ),
    Option("init_timeout", "SECONDS", "Time to start a process, import the script and run init().", in_try=False),
    Option("read_timeout", "SECONDS", "Time to read one mini-batch.", in_try=False),
    Option(
        "runner_memory_limit",
        "SIZE",
        "Memory of one process that runs your code, with its children, such as 4GB.",
        default="the memory of the machine or batch job, shared out",
        in_try=False,
    ),
    Option(
        "node_count",
        "COUNT",
        "Machines of a Dask cluster, jobs of a queue, or hosts to use.",
        default="1 job of a queue; all hosts, or all machines that the scheduler has",
        in_try=False,
    ),
    Option(
        "process_count_per_node",
        "COUNT",
        "Processes that run your code on each machine, or in each job of a queue.",
        default="the usable cores; a job's cores; the threads of a Dask cluster's workers",
        in_try=False,
    ),
    Option(
        "source_directory",
        "FOLDER",
        "Folder that the workers get a copy of; ENTRY is relative to it.",
        default="the script's own folder, uncopied",
    ),
    Option(
        "environment_variables",
        "NAME=VALUE",
        "Environment variable of the processes that run your code. Can be given several times.",
        default="none",
        multiple=True,
    ),
    Option(
        "fetched",
        "URL",
        "Object, prefix or glob of a store that each node fetches before your code starts. Where the URL stands among"
        " the arguments or environment variables, your code is told the path of the copy. Can be given several times.",
        default="none",
        multiple=True,
    ),
    Option(
        "python",
        "PATH",
        "Python interpreter, 3.9 or later, of the processes that run your code, such as venv/bin/python.",
        default="that of the workers",
    ),
    Option(
        "command_prefix",
        "COMMAND",
        "Starts that interpreter: 'apptainer exec --bind {folders} image.sif'; {folders} are those that it needs.",
        default="none",
    ),
    Option(
        "tensorflow1",
        "",
        "For scripts of TensorFlow 1: where version 2 is installed, 'import tensorflow' is its tensorflow.compat.v1.",
    ),
    Option("logging_level", "|".join(LOGGING_LEVELS), "How much the logs tell."),
    Option(
        "scheduler",
        "ADDRESS|FILE",
        "A Dask cluster that is already there: tls://host:8786, or its scheduler file.",
        default="workers of its own on this machine",
        in_try=False,
    ),
    Option(
        "insecure",
        "",
        "Its scheduler may be on another machine without TLS: anybody in the network can run code and read data there.",
        in_try=False,
    ),
    Option("tls_ca_file", "FILE", "Certificate of its CA, for tls://.", default="Dask's configuration", in_try=False),
    Option("tls_cert", "FILE", "Your certificate, for tls://.", default="Dask's configuration", in_try=False),
    Option("tls_key", "FILE", "Its private key.", default="Dask's configuration", in_try=False),
    Option(
        "compute",
        "local|serial|NAME|FILE",
        "serial: one mini-batch after the other, in this process. A batch queue such as Slurm, or hosts over SSH: the"
        " name of a compute target of the workspace, or a YAML file with type: slurm and what a job needs, or type: ssh"
        " and hosts.",
        default="local",
        in_try=False,
    ),
    Option(
        "min_nodes",
        "COUNT",
        "Jobs or hosts whose workers must be there before the work begins; more join as they come.",
        in_try=False,
    ),
    Option(
        "min_nodes_timeout",
        "SECONDS",
        "How long to wait for them.",
        default="no limit",
        in_try=False,
    ),
    Option(
        "job_replacements",
        "COUNT",
        "Jobs, or workers on hosts, that end or are killed before their time and are replaced, at most.",
        in_try=False,
    ),
    Option("dashboard", "", "Open Dask's dashboard, on this machine only.", in_try=False),
    Option(
        "task_seconds",
        "SECONDS",
        "Work that a slot takes on at a time: the most that is done again when the whole run dies. With more than 300"
        " slots at least a second for each 300, so that the scheduler comes along.",
        default="2; 10 with an output on a store",
        in_try=False,
    ),
)

Command = Callable[..., Any]


FREE = tuple(
    option.name
    for option in OPTIONS
    if option.name == "environment_variables" or GROUPS.get(option.name) in (Group.RULES, Group.FREE)
)
"""Those that a resumed run may be given: what does not change results, and what is stored nowhere."""


def with_options(*, for_try: bool = False, only: Collection[str] | None = None) -> Callable[[Command], Command]:
    """Decorate a command with all options, or with those in `only`.

    ``try`` takes those that do not matter to it too, unseen: so a command line can be tried by
    changing one word of it.
    """

    def decorate(command: Command) -> Command:
        for option in reversed(OPTIONS):
            if only is not None and option.name not in only:
                continue
            command = _click_option(option, hidden=for_try and not option.in_try)(command)
        return command

    return decorate


def with_inputs(command: Command) -> Command:
    """Decorate a command with its inputs: one without a name, or several by name."""
    option = click.option(
        "--input",
        "named",
        metavar="NAME=PATH",
        multiple=True,
        help="A dataset that the script is told the name of, in the place of INPUTS. Can be given several times: no"
        " mini-batch is of two names.",
    )
    return click.argument("inputs", nargs=-1)(option(command))


def given_inputs(
    inputs: tuple[str, ...], named: tuple[str, ...], ctx: click.Context
) -> list[str] | dict[str, list[str]]:
    """What `with_inputs` has taken, as Python takes it; empty where nothing was given."""
    found: dict[str, list[str]] = {}
    for text in named:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise click.UsageError(f"Invalid value for '--input': it must be NAME=PATH, got {text!r}.", ctx)
        found.setdefault(name, []).append(path)
    if found and inputs:
        raise click.UsageError(
            f"INPUTS {' '.join(inputs)!r} and --input {named[0]!r}: give each a name, or none, without --input.", ctx
        )
    return found or list(inputs)


def given(values: dict[str, Any], *, for_try: bool = False) -> dict[str, Any]:
    """What the user gave, as keyword arguments for Python; defaults are left to it."""
    found = {}
    for option in OPTIONS:
        value = values.get(option.name)
        if value not in (None, (), False) and (option.in_try or not for_try):
            found[option.name] = value
    if "dtype" in found:
        found["dtype"] = ",".join(found["dtype"])
    return found


def _click_option(option: Option, *, hidden: bool) -> Callable[[Command], Command]:
    flag = f"--{option.name.replace('_', '-')}"
    if not option.metavar:
        return click.option(flag, option.name, is_flag=True, help=option.help, hidden=hidden)
    default = option.default if option.default is not None else DEFAULTS[option.name]
    if isinstance(default, float):
        default = f"{default:g}"
    return click.option(
        flag,
        option.name,
        metavar=option.metavar,
        multiple=option.multiple,
        help=f"{option.help}  [default: {default}]",
        hidden=hidden,
    )
