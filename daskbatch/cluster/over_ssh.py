"""A cluster of hosts that are reached over SSH: the scheduler here, over TLS, and one Dask worker on each."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Client
from distributed.comm.addressing import parse_host_port
from distributed.security import Security

from daskbatch.cluster.dashboard import guard_scheduler
from daskbatch.cluster.hosts import Hosts
from daskbatch.cluster.own_scheduler import own_scheduler
from daskbatch.cluster.quiet import quiet, quiet_scheduler
from daskbatch.cluster.ssh_host import SSHHost, hosts_of, worker_command
from daskbatch.cluster.ssh_process import Unreachable
from daskbatch.cluster.ssh_worker import message
from daskbatch.errors import UsageError
from daskbatch.layout import STATE_FOLDER

if TYPE_CHECKING:
    from daskbatch.spec import Compute, RunSpec

__all__ = ["over_ssh"]


@contextmanager
def over_ssh(spec: RunSpec, compute: Compute, logs: Path) -> Iterator[tuple[Client, Hosts]]:
    """A Client, and the hosts of its workers, for the time of the run. No process is left on any of them.

    The credentials are in no file: a worker reads them from its standard input.

    Parameters
    ----------
    spec : RunSpec
    compute : Compute
    logs : Path
        Folder for what workers print, unless the output is on a store.

    Raises
    ------
    UsageError
        No host can be reached.
    """
    security = Security.temporary()
    options = compute.keywords.get("scheduler_options") or {}
    keep = "://" not in spec.output
    if keep:
        logs.mkdir(parents=True, exist_ok=True)
    with quiet(), quiet_scheduler(), ExitStack() as stack:
        listen = {name: given for name, given in options.items() if name != "contact_address"}
        try:
            cluster = own_scheduler(security, listen, spec.dashboard)
        except (RuntimeError, OSError, ValueError) as error:
            raise UsageError(
                f"no scheduler begins with scheduler_options={listen} of compute={compute.name!r}: {_first(error)}."
                " Next: give a host or interface of this machine, and a port that is free."
            ) from error

        def command(host: SSHHost, name: str, own: str | None) -> str:
            address = _told(options, own, cluster.scheduler_address)
            return worker_command(compute, host, address, name, spec.process_count_per_node)

        hosts = Hosts(
            hosts_of(compute),
            f"daskbatch-{secrets.token_hex(4)}",
            spec.node_count or compute.default_node_count,
            spec.min_nodes,
            command,
            message(security, _needed(spec), spec.entry.pickled is not None),
            spec.job_replacements,
            logs if keep else None,
        )
        # In this order: workers that wait, then the scheduler, which tells the others to go, then what is left.
        stack.callback(hosts.end_all)
        stack.enter_context(cluster)
        stack.callback(hosts.end_waiting)
        try:
            hosts.start()
        except Unreachable as error:
            raise UsageError(f"no host of compute={compute.name!r} can be used.\n{error}") from None
        client = stack.enter_context(Client(cluster, security=security, set_as_default=False))
        if spec.dashboard:
            guard_scheduler(client)
        yield client, hosts


def _first(error: BaseException) -> str:
    """What the cause is: Dask says no more than that its cluster did not start."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _told(options: Mapping[str, Any], own: str | None, scheduler: str) -> str:
    """The scheduler's address for a host that is reached from this machine's address `own`."""
    chosen = options.get("contact_address")
    if chosen:
        return chosen if "://" in chosen else f"tls://{chosen}"
    if own is None or "host" in options or "interface" in options:
        return scheduler
    _, port = parse_host_port(scheduler.partition("://")[2])
    return f"tls://[{own}]:{port}" if ":" in own else f"tls://{own}:{port}"


def _needed(spec: RunSpec) -> list[str]:
    """Paths that each host must see. The plan is there from the start, and in no other run's folder."""
    plan = os.path.join(spec.output, STATE_FOLDER, "plan.jsonl")
    paths = [plan if os.path.exists(plan) else spec.output, spec.entry.script, *spec.input.paths[:1]]
    return [path for path in paths if path and "://" not in path and os.path.exists(path)]
