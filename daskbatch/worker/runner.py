"""The Dask worker's side of one runner: start it, send rows, read frames, learn how it died."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import shlex
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daskbatch.worker import wire

__all__ = ["Launch", "Runner", "RunnerDied"]

# The package's own folder leads the path only until the entry script's folder takes its place.
_BOOT = "import sys; sys.path[0] = {root!r}; from daskbatch.worker.child import main; main()"
_MARK = "DASKBATCH_RUNNER"  # environment variable that all processes of a runner inherit
_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_FEW_BYTES = 1 << 14
_LOOKS_AT_ONCE = 16  # reads of a row before frames are gathered: short rows are not held up
_GATHER = 0.005  # seconds
_LAST_RESORT = 15.0  # seconds beyond every deadline of the supervisor's own


@dataclass(frozen=True, slots=True)
class Launch:
    """All that starting a runner takes."""

    python: str
    """Interpreter."""
    package_root: str
    """Folder that holds the ``daskbatch`` package."""
    setup: Mapping[str, Any]
    """First message: entry script, arguments, table format; JSON values."""
    environment: Mapping[str, str]
    """The whole environment of the process."""
    folder: str
    """Working directory."""
    stdout: str
    """Log file, appended to."""
    stderr: str
    """Log file, appended to."""
    timeouts: Mapping[str, float]
    """Seconds for the phases start, read, run, shutdown."""
    memory_limit: int | None
    """Bytes of the whole tree."""
    scratch: str = ""
    """Folder that goes with the worker, should it be killed. Empty: none."""
    cpus: Sequence[int] = ()
    """Numbers of the CPUs that the runner is held to. Empty: none but its parent's."""
    prefix: Sequence[str] = ()
    """Command that starts the interpreter, and may stay its parent."""
    log_limit: int = 256 * 2**20
    """Bytes after which a log file starts anew."""

    @property
    def out_of_sight(self) -> str:
        """What to say of a runner that took its worker for gone as soon as it was started, while the worker lives."""
        what = "the process ended as soon as it was started, because it could not see the Dask worker that started it: "
        if self.prefix:
            command = shlex.join(self.prefix)
            return (
                f"{what}the command in front of it (command_prefix {command}) must stay in the same process namespace."
                " Next: for apptainer and singularity leave out --pid and --containall; see docs/environments.md"
            )
        return (
            f"{what}another one is between them. Next: if {self.python} is a shell script, let it exec the interpreter"
        )


class RunnerDied(Exception):
    """Raised when a runner is gone; `verdict` is what its supervisor saw.

    Keys: ``reason`` (exit, timeout, memory, asked, orphaned, terminated, lost), ``phase``, ``file``,
    ``index``, ``items``, ``seconds`` in the phase, ``status`` (wait status or None), ``stack``, ``survivors``.
    """

    def __init__(self, verdict: dict[str, Any]) -> None:
        super().__init__(verdict["reason"])
        self.verdict = verdict


def _kill_marked(mark: str) -> None:
    """Kill every process that carries a runner's mark, whoever its parent is by now. Linux alone."""
    wanted = f"{_MARK}={mark}".encode()
    for entry in os.scandir("/proc") if os.path.isdir("/proc/self") else ():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            with open(f"/proc/{pid}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    os.kill(pid, signal.SIGKILL)


class Runner:
    """A supervised process, lent to one slot. One thread talks to it; any thread may stop or kill it."""

    def __init__(self, launch: Launch) -> None:
        self._frames = wire.FrameReader()
        self._mark = uuid.uuid4().hex
        self._life_lock = threading.Lock()
        self._told: dict[str, Any] | None = None
        self._work = self._result = self._verdict = self._life = -1
        theirs: dict[str, int] = {}
        try:
            theirs["page"] = wire.anonymous_file()
            os.ftruncate(theirs["page"], wire.PAGE_SIZE)
            self._map = mmap.mmap(theirs["page"], wire.PAGE_SIZE)
            self.page = wire.Page(self._map)
            self.page.enter(wire.START)
            theirs["work"], self._work = os.pipe()
            self._result, theirs["result"] = os.pipe()
            self._verdict, theirs["verdict"] = os.pipe()
            theirs["life"], self._life = os.pipe()
            self._process = self._spawn(launch, theirs)
        except BaseException:
            self._close_all()
            raise
        finally:
            for fd in theirs.values():
                os.close(fd)
        self.pid = self._process.pid
        os.set_blocking(self._result, False)
        self._poll = select.poll()
        self._poll.register(self._result, select.POLLIN)
        self._poll.register(self._verdict, select.POLLIN)
        self._send(json.dumps(launch.setup).encode())

    def _spawn(self, launch: Launch, theirs: dict[str, int]) -> subprocess.Popen[bytes]:
        with contextlib.suppress(OSError, ImportError, AttributeError):
            import fcntl

            fcntl.fcntl(self._result, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        config = {
            **theirs,
            "parent": os.getpid(),
            "direct": not launch.prefix,
            "timeouts": dict(launch.timeouts),
            "memory_limit": launch.memory_limit,
            "scratch": launch.scratch,
            "cpus": list(launch.cpus),
            "log_limit": launch.log_limit,
        }
        boot = _BOOT.format(root=launch.package_root)
        with open(launch.stdout, "ab") as out, open(launch.stderr, "ab") as err:
            return subprocess.Popen(
                [*launch.prefix, launch.python, "-c", boot, json.dumps(config)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**launch.environment, _MARK: self._mark},
                cwd=launch.folder,
                pass_fds=tuple(theirs.values()),
                start_new_session=True,  # a terminal's Ctrl-C is the engine's business
            )

    def send_row(self, row: bytes, blob: bytes | memoryview = b"") -> None:
        """Send a row of mini-batches; its frames follow from `frames`."""
        self.page.clear_stop()
        self._send(row, blob)

    def _send(self, message: bytes, blob: bytes | memoryview = b"") -> None:
        # A runner that has died is learnt from the verdict, which `frames` reads.
        with contextlib.suppress(BrokenPipeError):
            wire.send_work(self._work, message, blob)

    def frames(self, due: Callable[[], float | None] = lambda: None) -> Iterator[wire.Frame]:
        """Yield what the runner says, for as long as it lives.

        Parameters
        ----------
        due : callable
            Called before each wait; returns after how many seconds it wants to be called again, or None.

        Raises
        ------
        RunnerDied
            After the last frame that it sent whole.
        """
        looks = 0
        while True:
            wait = due()
            ready = {fd for fd, _ in self._poll.poll(None if wait is None else wait * 1000)}
            if self._result in ready:
                with contextlib.suppress(BlockingIOError):
                    got = self._frames.read(self._result)
                    if got:
                        yield from self._frames.frames()
                        looks += 1
                        if looks > _LOOKS_AT_ONCE and got < _FEW_BYTES:
                            # A look for each quick mini-batch would cost this process more than all else about it.
                            time.sleep(_GATHER)
                        continue
                    # Closed, but the verdict may take its moment.
                    self._poll.unregister(self._result)
            if self._verdict in ready:
                verdict = self._read_verdict()
                yield from self._leftovers()
                self.let_go()
                raise RunnerDied(verdict)

    def _leftovers(self) -> Iterator[wire.Frame]:
        with contextlib.suppress(BlockingIOError):
            while self._frames.read(self._result):
                yield from self._frames.frames()

    def _read_verdict(self) -> dict[str, Any]:
        if self._told is None:
            self._told = self._receive_verdict()
        return self._told

    def _receive_verdict(self) -> dict[str, Any]:
        told = b""
        # A line, and not all until the pipe's end: a command in front may hold it open for as long as it lives.
        while not told.endswith(b"\n") and (part := os.read(self._verdict, _READ_BYTES)):
            told += part
        if told.endswith(b"\n"):
            verdict: dict[str, Any] = json.loads(told)
            return verdict
        # The supervisor itself was killed: what it watched is killed from here.
        _kill_marked(self._mark)
        state = self.page.state()
        return {
            "reason": "lost",
            "phase": wire.PHASE_NAMES[state.phase],
            "file": state.file,
            "index": state.index,
            "items": state.items,
            "seconds": 0.0,
            "status": None,
            "survivors": [],
            "stack": "",
        }

    def request_stop(self) -> None:
        """End the row after the present mini-batch. Any thread."""
        with self._life_lock:
            if self._life >= 0:
                self.page.request_stop()

    def kill(self) -> None:
        """Kill the whole tree now; `frames` then raises `RunnerDied`. Any thread."""
        with self._life_lock, contextlib.suppress(BrokenPipeError):
            if self._life >= 0:
                os.write(self._life, b"K")

    def finish(self) -> None:
        """Let the runner call ``shutdown()`` and go. `wait` learns when it has; then its supervisor is to `let_go`."""
        if self._work >= 0:
            # Said, and not only shown by closing: a fork elsewhere in the process may hold the pipe open.
            self._send(b"")
            os.close(self._work)
            self._work = -1

    def wait(self) -> dict[str, Any]:
        """Wait for the end after `finish` or `kill`, unheard; the supervisor's deadlines bound it.

        Returns
        -------
        dict
            The verdict.
        """
        while True:
            ready = set() if self._told else {fd for fd, _ in self._poll.poll()}
            if self._told or self._verdict in ready:
                return self._read_verdict()
            # Nobody asks any more whether this is a frame: shutdown() may write what it likes.
            with contextlib.suppress(BlockingIOError):
                if not os.read(self._result, _READ_BYTES):
                    self._poll.unregister(self._result)

    def bury(self) -> dict[str, Any]:
        """`wait`, then `let_go`.

        Returns
        -------
        dict
            The verdict.
        """
        verdict = self.wait()
        self.let_go()
        return verdict

    def let_go(self) -> None:
        """Have the supervisor end, which is there to remove the scratch folder until then, should we be killed."""
        with self._life_lock, contextlib.suppress(BrokenPipeError):
            if self._life >= 0:
                os.write(self._life, b"G")
        try:
            self._process.wait(_LAST_RESORT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close_all()

    def _close_all(self) -> None:
        with self._life_lock:
            for fd in (self._work, self._result, self._verdict, self._life):
                if fd >= 0:
                    os.close(fd)
            self._work = self._result = self._verdict = self._life = -1
            if hasattr(self, "_map"):
                self._map.close()
