"""The command line. Imports that cost time are inside the commands: ``--help`` needs none of them."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from daskbatch import __version__
from daskbatch.cli_compute import compute_group
from daskbatch.cli_entry import ARGUMENTS, EntryCommand
from daskbatch.cli_folder import cancel_command, logs_command, say, status_command
from daskbatch.cli_options import FREE, given, given_inputs, with_inputs, with_options
from daskbatch.cli_pipelines import runs_command
from daskbatch.cli_submit import submit_command
from daskbatch.errors import DaskbatchError, RunCanceled, RunFailed, UsageError
from daskbatch.leaving import leave_soon

__all__ = ["cli", "main"]

# Exit codes. Scripts rely on them: add, never change.
COMPLETED = 0  # the run ended with a complete result; items may have failed within the thresholds
FAILED = 1  # a threshold was crossed, init() failed, there was no result, or the tried mini-batch failed
USAGE = 2  # an option, the entry script, the input or the output folder is wrong; nothing was started
INTERRUPTED = (
    130  # Ctrl-C, and daskbatch cancel: 128 + SIGINT. After SIGTERM it is 143, 128 + 15: RunCanceled carries it
)


class _Group(click.Group):
    """Ends with the exit codes above, and says each error in one form."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except UsageError as error:
            _say(str(error))
            code = USAGE
        except RunCanceled as error:
            _say(str(error) or "The run was canceled.")
            code = error.exit_code
        except DaskbatchError as error:
            _say(str(error))
            code = FAILED
        except click.ClickException as error:
            _say(_click_message(error))
            code = USAGE
        except (KeyboardInterrupt, click.Abort):
            _say("Interrupted.")
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else COMPLETED)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-") and os.path.exists(args[0]):
            ctx.fail(f"There is no command {args[0]!r}. Did you mean: daskbatch run {' '.join(args)}")
        return super().resolve_command(ctx, args)


def _say(message: str) -> None:
    click.echo(f"daskbatch: error: {message}", err=True)


def _click_message(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    help_line = f"\nTry '{context.command_path} --help'." if context else ""
    return error.format_message() + help_line


def _shown(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with what it shows while it runs."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Write each event as a line of JSON to stdout.")
    return click.option("--quiet", is_flag=True, help="Show nothing but errors.")(as_json(command))


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="daskbatch")
@click.pass_context
def cli(ctx: click.Context, /) -> None:
    """Run your model over many files or large tables, in parallel, into one result.

    \b
    daskbatch try score.py data/                # one mini-batch, in this process
    daskbatch run score.py data/ --output out   # all of them
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


@cli.command("run", cls=EntryCommand)
@click.argument("entry")
@with_inputs
@click.option(
    "--output",
    metavar="FOLDER|URL",
    help="Folder of the result, the logs and the summary, or a URL of a store such as s3://bucket/out: a new one, or"
    " that of the same run.",
)
@with_options()
@click.option("--fresh", is_flag=True, help="Discard the run in the output folder, whatever it is, and begin anew.")
@click.option(
    "--no-reuse", is_flag=True, help="Run anew where the same run is completed already. The default takes its result."
)
@_shown
@click.pass_context
def run_command(
    ctx: click.Context, /, entry: str, inputs: tuple[str, ...], named: tuple[str, ...], output: str | None,
    fresh: bool, no_reuse: bool, quiet: bool, as_json: bool, **values: Any,
) -> int:  # fmt: skip
    """Run ENTRY over all INPUTS, into one result.

    ENTRY is a Python script with run(mini_batch). INPUTS are files, folders and globs. What follows
    -- goes to the script, in sys.argv. Or ENTRY is a job of 'type: parallel', in YAML, which says it
    all; options given here win, and --output may be left out where the job names a folder.

    The same command again goes on with a run that was stopped or killed, and takes the result of one
    that is completed.

    \b
    daskbatch run score.py 'photos/*.png' --output out
    daskbatch run score.py data/ --output out --mini-batch-size 1MB -- --model m.keras
    daskbatch run job.yml
    """
    from daskbatch.api.run import run

    choices = {"fresh": fresh, "allow_reuse": not no_reuse, **given(values)}
    chosen = given_inputs(inputs, named, ctx)
    if chosen or not entry.lower().endswith((".yml", ".yaml")):
        choices |= {"entry": entry, "inputs": chosen, "arguments": ctx.meta[ARGUMENTS]}
    else:
        from daskbatch.api.job_options import options_of_job

        job = options_of_job(entry, output=output, say=lambda line: click.echo(f"daskbatch: {line}", err=True))
        output = job.pop("output", None)
        choices = {**job, **choices, **({"arguments": ctx.meta[ARGUMENTS]} if ctx.meta[ARGUMENTS] else {})}
    if not choices["inputs"]:
        raise click.UsageError("Missing argument 'INPUTS...'.", ctx)
    if output is None:
        raise click.UsageError("Missing option '--output'.", ctx)
    return _run(output, quiet, as_json, lambda **listening: run(**listening, **choices))


def _run(output: str, quiet: bool, as_json: bool, run: Callable[..., object]) -> int:
    """Run with what listens to it; return the exit code."""
    from daskbatch.options.inputs import path_or_url
    from daskbatch.report import Ending, default_listeners

    output = path_or_url("output", output)
    ending = Ending()
    # Made first: they keep the real stdout, which nothing else may write to when it carries JSON.
    listeners = default_listeners(output, quiet=quiet, json=as_json)
    listeners.append(ending)
    try:
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            run(output=output, listeners=listeners, progress=not quiet)
    except (RunFailed, RunCanceled) as error:
        if ending.text is None:
            raise
        if quiet or as_json:  # else the console has said it
            click.echo(ending.text, err=True)
        return error.exit_code if isinstance(error, RunCanceled) else FAILED
    return COMPLETED


@cli.command("resume")
@click.argument("output", metavar="FOLDER")
@with_options(only=FREE)
@_shown
def resume_command(output: str, quiet: bool, as_json: bool, **values: Any) -> int:
    """Go on with the run whose output is in FOLDER, where it was stopped or killed.

    What was committed is not run again. The options below may differ from those that it began with.
    """
    from daskbatch.api.again import resume

    return _run(output, quiet, as_json, lambda output, **listening: resume(output, **listening, **given(values)))


@cli.command("retry-failed")
@click.argument("output", metavar="FOLDER")
@with_options(only=FREE)
@_shown
def retry_failed_command(output: str, quiet: bool, as_json: bool, **values: Any) -> int:
    """Try the mini-batches that have failed again, of the run whose output is in FOLDER.

    The combined file is then whole. The options below may differ from those that the run began with.
    """
    from daskbatch.api.again import retry_failed

    return _run(output, quiet, as_json, lambda output, **listening: retry_failed(output, **listening, **given(values)))


@cli.command("try", cls=EntryCommand)
@click.argument("entry")
@with_inputs
@click.option(
    "--mini-batch",
    metavar="NUMBER",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Which one, from 0.",
)
@with_options(for_try=True)
@click.option("--output", hidden=True)
@click.option("--quiet", is_flag=True, hidden=True)
@click.option("--json", is_flag=True, hidden=True)
@click.pass_context
def try_command(
    ctx: click.Context, /, entry: str, inputs: tuple[str, ...], named: tuple[str, ...], mini_batch: int, **values: Any
) -> int:
    """Run ENTRY on one mini-batch of INPUTS in this process, and print what it returns.

    Nothing is written, errors come with their traceback, and breakpoint() works. The options of
    'run' that do not matter here are taken and ignored, so a command line can be tried as it is.
    """
    from daskbatch.api.trial import try_

    chosen = given_inputs(inputs, named, ctx)
    if not chosen:
        raise click.UsageError("Missing argument 'INPUTS...'.", ctx)
    try:
        result = try_(
            entry, chosen, mini_batch=mini_batch, arguments=ctx.meta[ARGUMENTS], **given(values, for_try=True)
        )
    except DaskbatchError:
        raise
    except (Exception, SystemExit) as error:  # the user's own: its traceback is what they came for
        traceback.print_exc()
        if isinstance(error, SystemExit):
            _say(f"the script ended the process: exit status {error.code!r}")
        return FAILED
    say(result.text)
    return COMPLETED


@cli.command("init")
@click.argument("folder", default=".")
@click.option("--name", help="Name of the workspace.  [default: that of the folder]")
def init_command(folder: str, name: str | None) -> None:
    """Make a workspace: write FOLDER/config.json. What is registered lies in FOLDER/workspace.

    FOLDER is the current folder unless it is given, and is made where it is missing.
    """
    from daskbatch.api.workspace import Workspace

    made = Workspace.create(name or os.path.basename(os.path.abspath(folder)), folder)
    say(f"Made the workspace {made.name!r}: {made.root / 'config.json'}")


@cli.command("version")
def version_command() -> None:
    """Print the versions of daskbatch, of Python and of what it stands on."""
    from importlib.metadata import version
    from platform import python_version

    click.echo(f"daskbatch {__version__}")
    click.echo(f"python {python_version()}")
    for name in ("dask", "distributed", "pandas", "pyarrow"):
        click.echo(f"{name} {version(name)}")


for _command in (cancel_command, compute_group, logs_command, status_command, submit_command):
    cli.add_command(_command)
cli.add_command(runs_command)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the ``daskbatch`` command."""
    leave_soon()
    cli.main(args, prog_name="daskbatch")
