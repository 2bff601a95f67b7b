"""The commands about compute targets. Imports that cost time are inside, as in ``cli``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from daskbatch.spec import Compute

__all__ = ["compute_group"]


@click.group("compute")
def compute_group() -> None:
    """Compute targets of the workspace: where runs go, by name."""


@compute_group.command("list")
def list_command() -> None:
    """List them."""
    from daskbatch.api.compute import ComputeTarget
    from daskbatch.api.workspace import Workspace

    for target in ComputeTarget.list(Workspace.from_config()):
        click.echo(f"{target.name}  {target.type}")


@compute_group.command("show")
@click.argument("compute", metavar="NAME|FILE")
@click.option(
    "--job-script", is_flag=True, help="Print the job that would be submitted for a worker; on hosts, its command."
)
@click.option("--coordinator", is_flag=True, help="With --job-script: that of a coordinator, of 'daskbatch submit'.")
@click.option("--process-count-per-node", metavar="COUNT", help="With --job-script: slots of a job.")
def show_command(compute: str, job_script: bool, coordinator: bool, process_count_per_node: str | None) -> None:
    """Show what a compute target says and where it is kept, or the job that it makes."""
    import yaml

    from daskbatch.api.compute_definition import definition_of, place_of
    from daskbatch.errors import UsageError
    from daskbatch.options.compute import parse_compute
    from daskbatch.options.values import whole_number

    if not job_script and (coordinator or process_count_per_node is not None):
        wrong = "--coordinator" if coordinator else "--process-count-per-node"
        raise UsageError(f"{wrong} is of the job, not of the compute target. Next: add --job-script.")
    definition = definition_of(compute)
    made, options = parse_compute(definition)
    if not job_script:
        click.echo(f"# {place_of(compute)}")
        click.echo(yaml.safe_dump(definition, sort_keys=False, allow_unicode=True), nl=False)
        for line in _commands(made, options) if made.is_ssh else ():
            click.echo(f"# {line}")
        return
    if made.is_ssh and not coordinator:
        own = {} if process_count_per_node is None else {"process_count_per_node": process_count_per_node}
        click.echo("\n".join(_commands(made, {**options, **own})))
        return
    if not made.is_queue:
        raise UsageError(f"The compute target {compute!r} is of type {made.type}, which has no jobs.")
    from daskbatch.queues.coordinator import coordinator_job
    from daskbatch.queues.job import job_of

    if coordinator:
        click.echo(coordinator_job(made, "OUTPUT", "OUTPUT/logs/coordinator.txt").job_script())  # type: ignore[no-untyped-call]
        return
    slots = options.get("process_count_per_node") if process_count_per_node is None else process_count_per_node
    threads = None if slots is None else whole_number("process_count_per_node", slots, 1)
    names = {"ca_file": "FOLDER/ca.pem", "cert": "FOLDER/cert.pem", "key": "FOLDER/key.pem"}
    job = job_of(
        made, "NAME", scheduler="tls://SCHEDULER:PORT", threads=threads, tls=names, log_directory=None, environment={}
    )
    click.echo(job.job_script())  # type: ignore[no-untyped-call]


def _commands(compute: Compute, options: Mapping[str, Any]) -> Iterator[str]:
    """What would be run on each of a definition's hosts."""
    from daskbatch.cluster.ssh_host import hosts_of, worker_command
    from daskbatch.options.values import whole_number

    slots = options.get("process_count_per_node")
    threads = None if slots is None else whole_number("process_count_per_node", slots, 1)
    for host in hosts_of(compute):
        yield f"{host.name}: {worker_command(compute, host, 'tls://SCHEDULER:PORT', 'NAME', threads)}"


@compute_group.command("add")
@click.argument("name")
@click.argument("file")
@click.option("--overwrite", is_flag=True, help="Replace a target of that name.")
def add_command(name: str, file: str, overwrite: bool) -> None:
    """Keep the definition in FILE under NAME in the workspace of the current folder."""
    from daskbatch.api.compute import ComputeTarget
    from daskbatch.api.workspace import Workspace

    target = ComputeTarget.register(Workspace.from_config(), name, definition=file, overwrite=overwrite)
    click.echo(f"Compute target {target.name!r} of type {target.type}: daskbatch run ... --compute {target.name}")


@compute_group.command("remove")
@click.argument("name")
def remove_command(name: str) -> None:
    """Forget NAME."""
    from daskbatch.api.compute import ComputeTarget
    from daskbatch.api.workspace import Workspace

    ComputeTarget(Workspace.from_config(), name).delete()
