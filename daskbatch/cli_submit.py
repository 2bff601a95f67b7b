"""``daskbatch submit``: a run that goes on by itself. Imports that cost time are inside, as in ``cli``."""

from __future__ import annotations

from typing import Any

import click

from daskbatch.cli_entry import ARGUMENTS, EntryCommand
from daskbatch.cli_options import given, given_inputs, with_inputs, with_options
from daskbatch.cli_pipelines import submit_pipeline

__all__ = ["submit_command"]


@click.command("submit", cls=EntryCommand)
@click.argument("entry", metavar="ENTRY|FILE")
@with_inputs
@click.option(
    "--output",
    metavar="FOLDER",
    help="Folder of the result, the logs and the summary: a new one, or that of the same run.",
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
@click.option("--wait", is_flag=True, help="Show what is done, and wait for the end. Ctrl-C ends the waiting alone.")
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
    click.echo(f"It runs by itself, as {made.job}: daskbatch status {output}; daskbatch logs -f {output}", err=True)
    if wait:
        from daskbatch.api.run_logs import log_lines

        for line in log_lines(output, follow=True):
            click.echo(line)
