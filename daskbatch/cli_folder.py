"""The commands about a run by its output folder alone. Imports that cost time are inside, as in ``cli``."""

from __future__ import annotations

import json
import sys

import click

__all__ = ["cancel_command", "logs_command", "say", "status_command"]

_STORAGE = click.option(
    "--storage-options",
    metavar="NAME=VALUE",
    multiple=True,
    help="How the store is reached, where FOLDER is a URL such as s3://bucket/out: endpoint_url, profile, region.",
)


@click.command("status")
@click.argument("output", metavar="FOLDER")
@_STORAGE
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status_command(output: str, storage_options: tuple[str, ...], as_json: bool) -> None:
    """Tell how the run is whose output is in FOLDER, while it runs and after."""
    from daskbatch.api.again import status

    found = status(output, storage_options)
    say(json.dumps(found.as_json(), indent=2) if as_json else found.text)


@click.command("cancel")
@click.argument("output", metavar="FOLDER")
@_STORAGE
def cancel_command(output: str, storage_options: tuple[str, ...]) -> None:
    """Ask the run whose output is in FOLDER to end. It can be resumed."""
    from daskbatch.api.again import cancel

    found = cancel(output, storage_options)
    say(f"Asked the run to end ({found.owner}). It does within seconds: daskbatch status {output}")


@click.command("logs")
@click.argument("output", metavar="FOLDER")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended. Ctrl-C ends the looking alone.")
@click.option("--user", is_flag=True, help="What the entry script prints, with the process in front of each line.")
def logs_command(output: str, follow: bool, user: bool) -> None:
    """Print what the run says whose output is in FOLDER."""
    from daskbatch.api.run_logs import log_lines

    for line in log_lines(output, follow=follow, user=user):
        say(line)


def say(text: str) -> None:
    """Print for people what may hold the name of a file, which need be no text in any encoding."""
    from daskbatch.report.console import write_line

    write_line(sys.stdout, text)
