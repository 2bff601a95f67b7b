"""``daskbatch submit``: a run that goes on by itself. Imports that cost time are inside, as in ``cli``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from daskbatch.cli_entry import ARGUMENTS, EntryCommand
from daskbatch.cli_folder import say
from daskbatch.cli_options import given, given_inputs, with_inputs, with_options
from daskbatch.cli_pipelines import submit_pipeline
from daskbatch.errors import DaskbatchError, RunCanceled, RunFailed

if TYPE_CHECKING:
    from daskbatch.api.submit_run import Submitted

__all__ = ["submit_command"]


@click.command("submit", cls=EntryCommand)
@click.argument("entry", metavar="ENTRY|FILE")
@with_inputs
@click.option(
    "--output",
    metavar="FOLDER|URL",
    help="Folder of the result, the logs and the summary, or a URL of a store such as s3://bucket/out: a new one, or"
    " that of the same run.",
)
@with_options()
@click.option(
    "-p",
    "--parameter",
    "parameters",
    metavar="NAME=VALUE",
    multiple=True,
    help="A parameter of a pipeline; repeatable.",
)
@click.option(
    "-e",
    "--experiment",
    metavar="NAME",
    help="What a pipeline's run belongs to.  [default: what FILE says, or its name]",
)
@click.option("--tag", "tags", metavar="NAME=VALUE", multiple=True, help="A tag of a pipeline's run; repeatable.")
@click.option("--regenerate-outputs", is_flag=True, help="Do all steps of a pipeline anew.")
@click.option(
    "--wait",
    is_flag=True,
    help="Show what is done, wait for the end, and end as the run does: 0 completed, 1 failed or lost, 130 canceled."
    " Ctrl-C ends the waiting alone, with 130.",
)
@click.pass_context
def submit_command(
    ctx: click.Context, /, entry: str, inputs: tuple[str, ...], named: tuple[str, ...], output: str | None,
    parameters: tuple[str, ...], experiment: str | None, tags: tuple[str, ...], regenerate_outputs: bool, wait: bool,
    **values: Any,
) -> None:  # fmt: skip
    """Begin a run that goes on by itself, print its id, and return.

    With ENTRY, INPUTS and --output as for 'daskbatch run'. With a batch queue as --compute, what
    does the run is a small job of that queue: on Slurm it goes on by itself after it was killed or
    put back. Else it is a process of its own on this host.

    FILE is a pipeline: what Pipeline.save wrote, or a job of 'type: pipeline' or 'type: parallel',
    in YAML; its run is one of the workspace of the current folder.

    \b
    daskbatch submit score.py 'data/*.csv' --output out --compute slurm.yml --node-count 8
    daskbatch status out; daskbatch logs -f out; daskbatch cancel out
    daskbatch submit pipeline.yml -p batch_size_param=1 --wait
    """
    chosen = given_inputs(inputs, named, ctx)
    if not chosen and entry.lower().endswith((".yml", ".yaml")):
        wrong = sorted([*given(values), *(["output"] if output else [])])
        if wrong:
            raise click.UsageError(f"--{wrong[0].replace('_', '-')} is for a script; a pipeline says it itself.", ctx)
        if ctx.meta[ARGUMENTS]:
            raise click.UsageError(
                f"-- {' '.join(ctx.meta[ARGUMENTS])!r}: arguments are for a script; a pipeline says them itself, and"
                " takes parameters: -p NAME=VALUE.",
                ctx,
            )
        submit_pipeline(entry, parameters, experiment, tags, regenerate_outputs, wait)
        return
    if parameters or experiment or tags or regenerate_outputs:
        raise click.UsageError("--parameter, --experiment, --tag and --regenerate-outputs are for a pipeline.", ctx)
    if not chosen:
        raise click.UsageError("Missing argument 'INPUTS...'.", ctx)
    if output is None:
        raise click.UsageError("Missing option '--output'.", ctx)
    from daskbatch.api.submit_run import submit

    made = submit(entry, chosen, output=output, arguments=ctx.meta[ARGUMENTS], **given(values))
    click.echo(made.run_id)
    place = shlex.quote(output)
    look = f"daskbatch status {place}" + ("" if "://" in made.output else f"; daskbatch logs -f {place}")
    click.echo(f"It runs by itself, as {made.job}: {look}", err=True)
    if wait:
        _wait(made, look)


def _wait(made: Submitted, look: str) -> None:
    """Wait for the run's end, and end as it does."""
    from daskbatch.api.submit_wait import wait_for_end

    goes_on = f"The waiting has ended, and the run goes on: {look}"
    try:
        ended = wait_for_end(made, say)
    except KeyboardInterrupt:
        click.echo(goes_on, err=True)
        raise Exit(RunCanceled.exit_code) from None
    except RunFailed:
        raise
    except DaskbatchError as error:  # such as a store that is away: no word about the run
        raise RunFailed(f"{error}\n{goes_on}") from error
    if ended.state != "Completed":
        log = f"\n  What it said is in {made.log}" if "://" in made.output else ""
        raise (RunCanceled if ended.state == "Canceled" else RunFailed)(ended.text + log)
