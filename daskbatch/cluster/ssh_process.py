"""One Dask worker on a host: the SSH connection, its process there, what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import psutil

from daskbatch.cluster.ssh_host import SSHHost

__all__ = ["Ending", "RemoteWorker", "Unreachable", "own_address"]

_START_PATIENCE = 60.0  # seconds until a host that lets in has begun a command
_CLOSE_PATIENCE = 8.0  # seconds; that of the program itself is shorter
_TAIL = 4000  # characters of what it has printed
_CHUNK = 65536
_PASSING = (OSError, asyncssh.ConnectionLost, asyncssh.ChannelOpenError)
"""What an SSH server, or a gate before many, does that is asked too often at once; not what is wrong with a login."""


class Unreachable(Exception):
    """Raised where a host cannot be reached; the message is the reason and the next step.

    Parameters
    ----------
    message : str
    passing : bool
        It may be no more than much to do at the moment, there or on the way.
    """

    def __init__(self, message: str, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker's process has ended."""

    text: str
    """For the user, after "its process"."""
    status: int | None = None
    """Exit status; the negative number of a signal; None where nobody told, as when the host is gone."""
    is_ours: bool = False
    """This run has ended it, or tried to."""


class RemoteWorker:
    """One process on a host.

    Parameters
    ----------
    host : SSHHost
    name : str
        Of the Dask worker.
    log : Path or None
        File for what it prints.
    """

    def __init__(self, host: SSHHost, name: str, log: Path | None) -> None:
        self.host = host
        self.name = name
        self._log = log
        self._tail = ""
        self._connection: asyncssh.SSHClientConnection | None = None
        self._process: asyncssh.SSHClientProcess[str] | None = None

    async def connect(self) -> str | None:
        """Connect.

        Returns
        -------
        str or None
            This machine's own address that the host is reached from, as far as that is known.

        Raises
        ------
        Unreachable
        """
        try:
            await _check_that_keys_are(self.host)
            self._connection = await asyncssh.connect(self.host.address, **self.host.connect)
        except (asyncssh.Error, OSError, ValueError, TypeError) as error:
            raise Unreachable(_why(error, self.host), isinstance(error, _PASSING)) from error
        return own_address(self._connection.get_extra_info("sockname"))

    async def start(self, command: str, message: str) -> None:
        """Have the command run, and give it the message on its standard input.

        Raises
        ------
        Unreachable
        """
        assert self._connection is not None
        try:
            async with asyncio.timeout(_START_PATIENCE):
                self._process = await self._connection.create_process(
                    command, stderr=asyncssh.STDOUT, encoding="utf-8", errors="replace", request_pty=False
                )
            self._process.stdin.write(message)
        except TimeoutError as error:
            text = f"it lets in, but begins no command within {_START_PATIENCE:g} s. Next: {_try(self.host)}"
            raise Unreachable(text) from error
        except (asyncssh.Error, OSError) as error:
            raise Unreachable(_why(error, self.host), passing=True) from error

    async def ended(self) -> Ending:
        """Take what it prints until it ends."""
        assert self._process is not None
        with contextlib.suppress(asyncssh.Error, OSError):
            while said := await self._process.stdout.read(_CHUNK):
                self._tail = (self._tail + said)[-_TAIL:]
                self._keep(said)
            await self._process.wait_closed()
        status = self._process.returncode
        if status is None:
            return Ending("is out of reach: the connection is lost")
        if status < 0:
            signal = self._process.exit_signal
            return Ending(f"was ended by SIG{signal[0]}" if signal else "was ended by a signal", status)
        return Ending(f"has ended with status {status}", status)

    def said(self) -> str:
        """The end of what it has printed."""
        return self._tail.strip()

    def kill(self) -> None:
        """Send SIGKILL to it."""
        if self._process is not None:
            with contextlib.suppress(asyncssh.Error, OSError):
                self._process.kill()

    async def close(self) -> None:
        """End the process, in order if it can be, and the connection."""
        if self._process is not None:
            with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
                self._process.stdin.write_eof()
                await asyncio.wait_for(self._process.wait_closed(), _CLOSE_PATIENCE)
            self.kill()
        if self._connection is not None:
            self._connection.close()
            with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
                await asyncio.wait_for(self._connection.wait_closed(), _CLOSE_PATIENCE)

    def _keep(self, said: str) -> None:
        if self._log is not None:
            with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8") as file:
                file.write(said)


async def _check_that_keys_are(host: SSHHost) -> None:
    """Refuse a host whose key nobody would look at, although its definition does not say so."""
    if not host.is_checked:
        return
    options = await asyncssh.SSHClientConnectionOptions.construct(host=host.address, **host.connect)
    # asyncssh reads it once more, for what is under "Match final" or "Match canonical".
    late = {"reload": True, "final": True, "canonical": bool(options.canonicalize_hostname)}
    again = await asyncssh.SSHClientConnectionOptions.construct(host=host.address, **host.connect, **late)
    if options.known_hosts is None or again.known_hosts is None:
        raise Unreachable(
            "the SSH configuration (~/.ssh/config, or config of connect_options) says UserKnownHostsFile none, so"
            " that whoever answers there would be taken for it. Next: name the file that has its key as known_hosts of"
            " connect_options, or take that line out"
        )


def own_address(name: object) -> str | None:
    """The address of this machine that a connection is from; behind a jump host it is another's."""
    address = name[0] if isinstance(name, tuple) and name else None
    if not isinstance(address, str) or "%" in address:  # that of one link, which means nothing to others
        return None
    own = {each.address for addresses in psutil.net_if_addrs().values() for each in addresses}
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).is_loopback or address in own:
            return address
    return None


def _why(error: Exception, host: SSHHost) -> str:
    told = str(getattr(error, "reason", "") or error) or type(error).__name__
    if isinstance(error, TimeoutError):
        told = f"no answer within {host.connect.get('connect_timeout')} s"
    elif isinstance(error, OSError) and error.strerror:
        told = f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        step = f"make its key known: 'ssh {host.address}' by hand once, or a file as known_hosts of connect_options"
    elif isinstance(error, asyncssh.PermissionDenied):
        step = "see that 'ssh' gets in without a question: an agent, or username and client_keys of connect_options"
    elif isinstance(error, (asyncssh.KeyImportError, asyncssh.KeyEncryptionError)):
        step = "have an agent hold the key (ssh-add)"
    else:
        step = _try(host)
    return f"{told}. Next: {step}"


def _try(host: SSHHost) -> str:
    return f"see that 'ssh {host.address}' works from here"
