"""A Dask cluster that is already there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client
from distributed.security import Security

from daskbatch.errors import UsageError
from daskbatch.spec import RunSpec

__all__ = ["existing"]

_CONNECT_TIMEOUT = 10.0  # seconds


@contextmanager
def existing(spec: RunSpec, scheduler: str) -> Iterator[Client]:
    """A Client of the cluster whose address or scheduler file is given, for the time of the run.

    Raises
    ------
    UsageError
        No scheduler answers there.
    """
    is_file = Path(scheduler).is_file()
    try:
        client = Client(
            scheduler_file=scheduler if is_file else None,
            address=None if is_file else scheduler,
            timeout=_CONNECT_TIMEOUT,
            security=_security(spec),
            set_as_default=False,
        )
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"no Dask scheduler answers at scheduler={scheduler!r} within {_CONNECT_TIMEOUT:g} s ({error}). "
            "Give an address such as tls://host:8786 or the path of a scheduler file."
        ) from error
    with client:
        yield client


def _security(spec: RunSpec) -> Security | None:
    """Of the files that are given; None: of Dask's configuration."""
    if spec.tls_ca_file is None:
        return None
    return Security(
        tls_ca_file=spec.tls_ca_file,
        tls_client_cert=spec.tls_cert,
        tls_client_key=spec.tls_key,
        require_encryption=True,
    )
