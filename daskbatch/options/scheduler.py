"""The scheduler of a Dask cluster that is already there: where it is, and who else may talk to it."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daskbatch.errors import UsageError

if TYPE_CHECKING:
    from daskbatch.spec import RunSpec

__all__ = ["TLS", "is_plain", "refuse_open_scheduler", "scheduler_address", "tls_files"]

TLS = ("tls_ca_file", "tls_cert", "tls_key")
"""Options that name the files of a TLS client."""

_ENCRYPTED = ("tls", "wss", "inproc")


def scheduler_address(value: str | os.PathLike[str]) -> str:
    """An address such as ``tls://host:8786``, or the absolute path of a scheduler file.

    Raises
    ------
    UsageError
        It is neither.
    """
    text = os.fspath(value)
    if re.fullmatch(r"[a-z]+://.+", text):
        return text
    if os.path.isfile(os.path.expanduser(text)):
        return os.path.abspath(os.path.expanduser(text))
    if re.fullmatch(r"[\w.-]+:\d+", text):
        return f"tcp://{text}"
    raise UsageError(
        "scheduler must be the address of a Dask scheduler, such as tls://host:8786, or its scheduler"
        f" file, got {text!r}, and there is no such file."
    )


def tls_files(given: dict[str, object]) -> dict[str, str]:
    """Absolute paths of the TLS files that are given: all of them, or none.

    Raises
    ------
    UsageError
        One is missing.
    """
    paths = {name: os.path.abspath(os.path.expanduser(str(given[name]))) for name in TLS if given.get(name) is not None}
    if paths and len(paths) < len(TLS):
        missing = ", ".join(name for name in TLS if name not in paths)
        raise UsageError(f"{', '.join(TLS)} go together, got {', '.join(paths)}. Next: give {missing} too.")
    for name, path in paths.items():
        if not os.path.isfile(path):
            raise UsageError(f"{name} must be a file in PEM format, got {path!r}, and there is no such file.")
    return paths


def refuse_open_scheduler(spec: RunSpec) -> None:
    """Refuse a scheduler on another machine that anybody in the network may command.

    A Dask scheduler without TLS asks nobody who they are, and runs what it is sent. On loopback only users of this
    machine reach it, so there it is for the caller to warn: see `is_plain`.

    Raises
    ------
    UsageError
        Its address is not on loopback, has no TLS, and ``insecure`` is not given; or TLS files are given for an
        address without TLS.
    """
    if spec.scheduler is None:
        return
    address = _address(spec.scheduler)
    where = f"scheduler={spec.scheduler!r}" + (f" (a file that says {address})" if address != spec.scheduler else "")
    if spec.tls_ca_file is not None and is_plain(spec.scheduler):
        raise UsageError(f"TLS files are given, but {where} has no TLS. Next: give its address as tls://HOST:PORT.")
    if is_plain(spec.scheduler) and not spec.insecure and not _is_loopback(address):
        raise UsageError(
            f"{where} has no TLS: anybody in the network could run code in your name there and read your data. Next:"
            " start the scheduler with TLS and give tls://HOST:PORT with tls_ca_file, tls_cert and tls_key (or have"
            " them in Dask's configuration, distributed.comm.tls); or accept that risk with insecure=True, on the"
            " command line --insecure."
        )


def is_plain(scheduler: str) -> bool:
    """Whether an address, or that in a scheduler file, is one without TLS."""
    return _address(scheduler).partition("://")[0] not in _ENCRYPTED


def _address(scheduler: str) -> str:
    """That of a scheduler file, where it is one."""
    if not os.path.isfile(scheduler):
        return scheduler
    try:
        with open(scheduler, encoding="utf-8") as file:
            return str(json.load(file)["address"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"scheduler must be an address or a scheduler file, got {scheduler!r}, which has no address in it. Next:"
            " give the file that 'dask scheduler --scheduler-file' writes."
        ) from None


def _is_loopback(address: str) -> bool:
    """Whether it is on loopback by itself. This host's name is not: a scheduler there listens to the network."""
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
