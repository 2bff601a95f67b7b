"""A slot's process: splits into supervisor and runner before any user code is imported.

The runner, the lower half, is the only place where user code runs. It reads a row of mini-batches from its
work pipe and answers each on its result pipe as soon as it is done, so that a crash costs
the one mini-batch that was under way.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from daskbatch.failpoints import failpoint
from daskbatch.leaving import leave_soon
from daskbatch.store.copy_names import CopyNames
from daskbatch.types import MiniBatch
from daskbatch.worker import entry, script, shim, wire
from daskbatch.worker.attempt import ENDS, Attempts, failure_of, parts_of
from daskbatch.worker.interpreter import refuse_missing
from daskbatch.worker.origins import Origins
from daskbatch.worker.shim_names import IN_RUNNERS
from daskbatch.worker.supervisor import become_subreaper, supervise

__all__ = ["main"]

_HIGH_FD = 512  # scripts that close "all" descriptors rarely count this far


def main() -> None:
    """Entry point: ``sys.argv[1]`` is the slot's configuration as JSON."""
    config = json.loads(sys.argv[1])
    page = wire.Page(mmap.mmap(config["page"], wire.PAGE_SIZE))
    wire.seal_page(config["page"])  # the mapping keeps a descriptor of its own
    os.close(config["page"])
    page.enter(wire.START)
    become_subreaper()
    stack_fd = wire.anonymous_file()
    supervisor = os.getpid()
    runner = os.fork()
    if runner:
        for name in ("work", "result"):
            os.close(config[name])
        supervise(runner, page, config, stack_fd)
        os._exit(0)
    for name in ("life", "verdict"):
        os.close(config[name])
    _bind_to(supervisor)
    _keep_to(config["cpus"])
    faulthandler.enable(stack_fd, all_threads=True)
    faulthandler.register(signal.SIGUSR2, stack_fd, all_threads=True)
    work, result = (_raise_fd(config[name]) for name in ("work", "result"))
    leave_soon(with_users_code=True)
    _Runner(work, result, page).live()


def _bind_to(supervisor: int) -> None:
    """Die with the supervisor; be the kernel's first choice when memory runs out; lead a group of one's own."""
    os.setpgid(0, 0)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != supervisor:
            os._exit(1)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")


def _keep_to(cpus: Sequence[int]) -> None:
    """Run there alone, with all that is started from here. The supervisor must not have to wait for it."""
    if cpus:
        with contextlib.suppress(OSError, AttributeError):  # the job has lost some of them; or macOS
            os.sched_setaffinity(0, cpus)


def _raise_fd(fd: int) -> int:
    import fcntl
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, min(_HIGH_FD, soft - 8))
    os.close(fd)
    return high


class _Runner:
    """The lower half: load the script, then answer rows until the work pipe ends."""

    def __init__(self, work: int, result: int, page: wire.Page) -> None:
        self.work = work
        self.result = result
        self.page = page
        self.pid = os.getpid()
        self.signatures: dict[str, int] = {}

    def live(self) -> None:
        began = self.page.state().began
        first = wire.read_exactly(self.work)
        if first is None:
            return
        setup = json.loads(first[0])
        try:
            self._prepare(setup)
        except ENDS:
            raise
        except BaseException as error:
            self._send(wire.FAILED, failure_of(error, "start"))
            return
        self._send(wire.READY, {"init_seconds": time.monotonic() - began})
        self.page.enter(wire.IDLE)
        while True:
            message = wire.read_exactly(self.work)
            if message is None or not message[0]:  # the end of the pipe, or goodbye
                break
            self._answer(*message)
            self.page.enter(wire.IDLE)
        self.page.enter(wire.SHUTDOWN)
        self.script.shutdown()

    def _prepare(self, setup: Mapping[str, Any]) -> None:
        """Import the script and call its ``init()``."""
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        root = setup["package_root"]
        sys.path[:] = [*(part for part in sys.path if part != root), root]
        entry.configure(**setup["entry_script"])
        refuse_missing(setup)
        shim.install(IN_RUNNERS)
        if setup.get("tensorflow1"):
            from daskbatch.worker import tensorflow1

            tensorflow1.install()
        if setup["pickled"]:
            import cloudpickle

            # Modules that the object's own module imports: they may lie beside the user's program.
            sys.path += [part for part in setup["path"] if part not in sys.path]
            with open(setup["pickled"], "rb") as file:
                self.script = script.load_object(cloudpickle.load(file), setup["arguments"])
        else:
            self.script = script.load_script(
                setup["script"], setup["arguments"], setup["source_directory"], setup["script_digest"]
            )
        table = None if setup["table"] is None else wire.table_format(setup["table"])
        origins = Origins(**setup.get("origins", {}))
        names = CopyNames(*setup.get("copies", ()))
        self.attempts = Attempts(self.script, table, setup["suffix"], setup["action"], self.page.enter, origins, names)
        self.script.init()

    def _answer(self, message: bytes, blob: bytes) -> None:
        """Run a row; say at the end whether the time budget or a stop cut it short."""
        row, budget, self.retries = wire.decode_row(message)
        if blob:
            self.attempts.reader.open_partition(blob)
        deadline = time.monotonic() + budget
        first = True
        for batch in row:
            for part in parts_of(batch):
                if self.page.stop or (not first and time.monotonic() > deadline):
                    self._send(wire.END, {"whole": False})
                    return
                first = False
                if not self._try(part):
                    break
        self._send(wire.END, {"whole": True})

    def _try(self, batch: MiniBatch) -> bool:
        """One try of one mini-batch. False: the stream has ended before it."""
        answer = self.attempts.attempt(batch, self.retries.get(batch.key, 0))
        self._end_a_fork()  # before it writes on the page, which is its parent's too: that may be in run() still
        self.page.enter(wire.IDLE)
        if answer.payload is not None:
            payload = answer.payload
            frame = wire.pack_frame(
                wire.RESULT,
                payload.data,
                batch.file,
                batch.index,
                answer.items,
                payload.returned,
                payload.rows,
                self._signature(payload.columns),
                answer.seconds,
            )
        elif answer.failure is not None:
            data = json.dumps(answer.failure).encode()
            frame = wire.pack_frame(wire.FAILED, data, batch.file, batch.index, answer.items)
        elif answer.ended:
            return False
        else:
            frame = wire.pack_frame(wire.EMPTY, b"", batch.file, batch.index)
        failpoint("result.send.before")
        self._write(frame)
        failpoint("result.send.after")
        return not answer.ended

    def _signature(self, columns: str) -> int:
        """The number that stands for a column signature; a new one is announced first."""
        number = self.signatures.get(columns)
        if number is None:
            number = self.signatures[columns] = len(self.signatures)
            self._write(wire.pack_frame(wire.COLUMNS, columns.encode(), columns=number))
        return number

    def _send(self, kind: bytes, message: Mapping[str, Any]) -> None:
        self._write(wire.pack_frame(kind, json.dumps(message).encode()))

    def _end_a_fork(self) -> None:
        """A fork of the user's that came back from run() or init() ends: it must not answer as well."""
        if os.getpid() != self.pid:
            os._exit(1)

    def _write(self, data: bytes) -> None:
        self._end_a_fork()
        view = memoryview(data)
        while view:
            view = view[os.write(self.result, view) :]
