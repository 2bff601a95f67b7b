"""The commands about pipelines and their runs. Imports that cost time are inside, as in ``cli``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from daskbatch.errors import RunCanceled

__all__ = ["pairs", "runs_command", "submit_pipeline"]


def submit_pipeline(
    pipeline: str, given: tuple[str, ...], experiment: str | None, tags: tuple[str, ...], regenerate_outputs: bool,
    wait: bool,
) -> None:  # fmt: skip
    """Begin a run of the pipeline in a file, for ``daskbatch submit``."""
    from daskbatch.api.experiment import Experiment
    from daskbatch.api.pipeline import Pipeline
    from daskbatch.api.workspace import Workspace

    workspace = Workspace.from_config()
    loaded = Pipeline.load(pipeline, workspace)
    name = experiment or loaded.as_document()["experiment_name"] or Path(pipeline).stem
    run = Experiment(workspace, name).submit(
        loaded,
        tags=pairs("--tag", tags),
        pipeline_parameters=pairs("-p", given),
        regenerate_outputs=regenerate_outputs,
    )
    click.echo(run.id)
    look = f"daskbatch runs -e {name}. Its folder: {run.folder}"
    if not wait:
        click.echo(f"It runs by itself: {look}", err=True)
        return
    try:
        run.wait_for_completion(show_output=True)
    except KeyboardInterrupt:
        click.echo(f"The waiting has ended, and the run goes on: {look}", err=True)
        raise click.exceptions.Exit(RunCanceled.exit_code) from None


@click.command("runs")
@click.option("-e", "--experiment", metavar="NAME", help="Those of one experiment.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON, with all that is known.")
@click.option("--cancel", metavar="ID", help="Ask this run to end, in place of the list.")
@click.option("--resume", metavar="ID", help="Go on with this run, in place of the list.")
@click.option(
    "--environment-variables",
    "variables",
    metavar="NAME=VALUE",
    multiple=True,
    help="A variable's value, with --resume: values are stored nowhere; repeatable.",
)
def runs_command(
    experiment: str | None, as_json: bool, cancel: str | None, resume: str | None, variables: tuple[str, ...]
) -> None:
    """List the runs of pipelines in the workspace of the current folder, the latest first; cancel or resume one."""
    from daskbatch.api.experiment import Experiment
    from daskbatch.api.workspace import Workspace

    workspace = Workspace.from_config()
    if cancel is not None and resume is not None:
        raise click.UsageError("--cancel and --resume exclude each other.")
    if cancel is not None:
        workspace.get_run(cancel).cancel()
        click.echo("Asked the run to end. It does within seconds: daskbatch runs")
        return
    if resume is not None:
        run = workspace.get_run(resume)
        run.resume(pairs("--environment-variables", variables) or None)
        click.echo(f"The run goes on by itself: daskbatch runs. Its folder: {run.folder}")
        return
    experiments = [workspace.experiments[experiment]] if experiment else Experiment.list(workspace)
    found = sorted((run for one in experiments for run in one.get_runs()), key=lambda run: run.id, reverse=True)
    if as_json:
        click.echo(json.dumps([run.get_details() for run in found], indent=2))
        return
    for run in found:
        steps = ", ".join(f"{step.name} {step.get_status()}" for step in run.get_steps())
        click.echo(f"{run.id}  {run.get_status():<10}  {run.experiment.name}  ({steps})")
    if not found:
        click.echo("There are no runs yet: daskbatch submit pipeline.yml", err=True)


def pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    """Names and values of an option that is given several times."""
    found = {}
    for text in given:
        name, is_pair, value = text.partition("=")
        if not is_pair or not name:
            raise click.UsageError(f"{option} must be NAME=VALUE, got {text!r}.")
        found[name] = value
    return found
