"""A host that is reached over SSH: how, and the command that makes a Dask worker there."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daskbatch.spec import Compute

__all__ = ["SSHHost", "hosts_of", "worker_command"]

_DEFAULTS = {
    # Without these a host that has lost its power is waited for as long as TCP does. The first is for all of it, the
    # login too.
    "connect_timeout": 30,
    "login_timeout": 30,
    "keepalive_interval": 15,
    "keepalive_count_max": 3,
}


@dataclass(frozen=True, slots=True, eq=False)
class SSHHost:
    """One of a definition's hosts."""

    name: str
    """For messages: its address, and the port where one is given."""
    address: str
    connect: Mapping[str, Any]
    """What asyncssh is told."""
    python: str
    """Path of the worker's Python there."""

    @property
    def is_checked(self) -> bool:
        """Whether it must prove to be what ``known_hosts`` knows."""
        return not ("known_hosts" in self.connect and self.connect["known_hosts"] is None)


def hosts_of(compute: Compute) -> list[SSHHost]:
    """The hosts, in the order of the definition, which is checked already."""
    addresses = compute.keywords["hosts"]
    connect = _each(compute.keywords.get("connect_options") or {}, len(addresses))
    pythons = _each(compute.keywords.get("remote_python") or sys.executable, len(addresses))
    return [
        SSHHost(_name(address, options), address, _with_defaults(_at_home(options)), python)
        for address, options, python in zip(addresses, connect, pythons, strict=True)
    ]


def worker_command(compute: Compute, host: SSHHost, scheduler: str, name: str, threads: int | None) -> str:
    """What the shell of the host is given. No secrets: the worker reads those from its standard input.

    Parameters
    ----------
    compute : Compute
    host : SSHHost
    scheduler : str
        Address.
    name : str
        Of the worker.
    threads : int or None
        Its slots; None: what the definition says, else the host's cores.
    """
    options = dict(compute.keywords.get("worker_options") or {})
    if threads is not None:
        options["nthreads"] = threads
    words = ["-P", "-m", "daskbatch.cluster.ssh_worker", scheduler, name]
    if options:
        words.append(json.dumps(options))
    return f"exec {_quoted(host.python)} {shlex.join(words)}"


def _quoted(path: str) -> str:
    """For a shell, which finds the home folder there if ``~/`` is not in quotes."""
    return f"~/{shlex.quote(path[2:])}" if path.startswith("~/") else shlex.quote(path)


def _each(given: Any, count: int) -> list[Any]:
    return list(given) if isinstance(given, list) else [given] * count


def _name(address: str, options: Mapping[str, Any]) -> str:
    if not options.get("port"):
        return address
    return f"[{address}]:{options['port']}" if ":" in address else f"{address}:{options['port']}"


def _at_home(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same with ``~/`` as shells read it."""
    return {name: _expanded(given) for name, given in options.items()}


def _with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    if "login_timeout" in options:
        options = {"connect_timeout": options["login_timeout"], **options}
    return {**_DEFAULTS, **options}


def _expanded(given: Any) -> Any:
    if isinstance(given, list):
        return [_expanded(part) for part in given]
    return os.path.expanduser(given) if isinstance(given, str) and given.startswith("~") else given
