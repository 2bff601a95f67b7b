"""Checks what a definition of ``type: ssh`` says: hosts, and how they are reached."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from daskbatch.errors import UsageError
from daskbatch.nearest import nearest
from daskbatch.options.compute_secrets import tells_secret
from daskbatch.options.values import whole_number
from daskbatch.spec import Compute

__all__ = ["KEYS", "check_node_count", "check_ssh"]

KEYS = ("hosts", "connect_options", "worker_options", "scheduler_options", "remote_python")
"""Those of ``distributed.SSHCluster`` that are the user's to give."""

_WORKER = (
    *("contact_address", "death_timeout", "host", "interface"),
    *("local_directory", "memory_limit", "nthreads", "port"),
)
_SCHEDULER = ("contact_address", "host", "interface", "port")
_OF_SSH_CLUSTER = ("worker_class", "n_workers", "nanny", "protocol", "security", "name")
"""What is ours to give: one worker a host without a nanny, over TLS."""
_SECRET = ("password", "passphrase", "pkcs11_pin")
_CONTACT = re.compile(r"(tls://)?(\[[\da-fA-F:.%\w]+\]|[^\s:/@\[\]]+):\d{1,5}")
_SSHPASS = re.compile(r"\bsshpass\b")
_NOT_GIVEN = (
    *("self", "loop", "last_config", "reload", "canonical", "final", "host"),
    *("command", "subsystem", "request_pty", "term_type", "encoding", "errors"),
)
"""Parameters of asyncssh's options that are its own or ours."""


def check_ssh(what: str, content: Mapping[str, Any]) -> None:
    """Check the keys of a definition that are not a run's options.

    Parameters
    ----------
    what : str
        How messages call the definition.
    content : mapping

    Raises
    ------
    UsageError
        Something is wrong; asyncssh is not installed.
    """
    hosts = content.get("hosts")
    if not (isinstance(hosts, list) and hosts and all(isinstance(host, str) and host.strip() for host in hosts)):
        raise UsageError(f"{what} of type ssh must have hosts: a list of names or addresses, got {hosts!r}.")
    for host in hosts:
        if "@" in host or host.count(":") == 1 or any(map(str.isspace, host)):
            raise UsageError(
                f"{what}: hosts must be names or addresses alone, got {host!r}. Next: user and port go into"
                " connect_options, as username and port."
            )
    allowed = _names_of_asyncssh(what)
    for options in _each(what, "connect_options", content.get("connect_options"), Mapping, hosts):
        _check_connect_options(what, options, allowed)
    for path in _each(what, "remote_python", content.get("remote_python"), str, hosts):
        if not path.strip():
            raise UsageError(f"{what}: remote_python must be the path of a Python, got {path!r}.")
    for key, names in (("worker_options", _WORKER), ("scheduler_options", _SCHEDULER)):
        _check_options(what, key, content.get(key), names)
    contact = (content.get("scheduler_options") or {}).get("contact_address")
    if contact is not None and not (isinstance(contact, str) and _CONTACT.fullmatch(contact)):
        raise UsageError(
            f"{what}: contact_address of scheduler_options must be an address with a port that the hosts reach, such as"
            f" gate.example.org:8786 or [::1]:8786, got {contact!r}. Next: give that port as port too."
        )
    threads = (content.get("worker_options") or {}).get("nthreads")
    if threads is not None:
        whole_number(f"{what}: nthreads of worker_options", threads, 1)


def check_node_count(compute: Compute, node_count: int | None) -> None:
    """Check ``node_count``, where there are hosts.

    Raises
    ------
    UsageError
        There are fewer hosts.
    """
    if not compute.is_ssh:
        return
    there = len(compute.keywords["hosts"])
    if node_count is not None and node_count > there:
        raise UsageError(
            f"node_count must be at most {there}, the hosts of compute={compute.name!r}, got {node_count}. Next: leave"
            " it out, or add hosts."
        )


def _each(what: str, key: str, given: object, kind: type, hosts: Sequence[str]) -> list[Any]:
    """One for all hosts, or one for each."""
    if given is None:
        return []
    parts = given if isinstance(given, list) else [given]
    if not all(isinstance(part, kind) for part in parts):
        wanted = "a path" if kind is str else "a mapping"
        # The value is not shown: it may hold what must not be seen.
        got = " and ".join(sorted({type(part).__name__ for part in parts}))
        raise UsageError(f"{what}: {key} must be {wanted}, or a list with one for each host, got {got}.")
    if isinstance(given, list) and len(given) != len(hosts):
        raise UsageError(
            f"{what}: {key} must have one entry for each of the {len(hosts)} hosts, got {len(given)}. Next: write it"
            " without a list where it holds for all of them."
        )
    return parts


def _names_of_asyncssh(what: str) -> list[str]:
    try:
        from asyncssh import SSHClientConnectionOptions
    except ImportError:
        raise UsageError(f"{what} is of type ssh, which needs asyncssh. Next: pip install asyncssh") from None
    names = set(inspect.signature(SSHClientConnectionOptions.prepare).parameters)
    return sorted(names - {*_SECRET, *_NOT_GIVEN})


def _check_connect_options(what: str, options: Mapping[str, Any], allowed: Sequence[str]) -> None:
    for name, given in options.items():
        if name in _SECRET:
            raise UsageError(
                f"{what}: connect_options must not give {name} itself, for a definition is kept in files. Next: let an"
                " agent hold the key (ssh-add), or name its file in client_keys."
            )
        if name not in allowed:
            raise UsageError(
                f"{what}: connect_options has no {name!r}.{nearest(name, allowed)} Allowed are the options of"
                f" asyncssh.connect: {', '.join(allowed)}."
            )
        if tells_secret(given):
            raise UsageError(
                f"{what}: {name} of connect_options seems to hold a password, key or token, and a definition is kept in"
                " files. Next: let an agent hold a key (ssh-add), or have it read from a file of yours."
            )
        if name == "proxy_command" and any(_SSHPASS.search(str(part)) for part in _parts(given)):
            raise UsageError(
                f"{what}: proxy_command of connect_options must not use sshpass: passwords are not supported. Next: let"
                " an agent hold a key (ssh-add) that the host on the way takes, or give that host as tunnel."
            )
        if not _is_plain(given):
            raise UsageError(f"{what}: {name} of connect_options must be text, a number or a list of them.")


def _parts(given: object) -> list[Any]:
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _is_plain(given: object) -> bool:
    """Whether a file can hold it."""
    if isinstance(given, Mapping):
        return all(isinstance(key, str) and _is_plain(part) for key, part in given.items())
    return given is None or all(isinstance(part, (str, int, float, bool)) for part in _parts(given))


def _check_options(what: str, key: str, given: object, names: Sequence[str]) -> None:
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise UsageError(f"{what}: {key} must be a mapping of names, got {given!r}.")
    for name in given:
        if name in _OF_SSH_CLUSTER:
            raise UsageError(
                f"{what}: {key} must not give {name}: each host has one Dask worker, without a nanny, over TLS. Its"
                " threads are the slots, see process_count_per_node."
            )
        if name not in names:
            raise UsageError(f"{what}: {key} has no {name!r}.{nearest(str(name), names)} Allowed: {', '.join(names)}.")
