"""What all tests share: leak checks, and what to do where a service is missing.

Environment
-----------
CI
    Set (to anything but ``false`` or ``0``): a missing service or package fails a test instead of skipping it, and
    hypothesis tries more examples.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import psutil
import pyarrow.csv as pa_csv
import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

CI = os.environ.get("CI", "").lower() not in ("", "0", "false")
TESTS = Path(__file__).parent
GRACE = 5.0
"""Seconds that processes, sockets and threads get to go away after a test."""

MARK = "DASKBATCH_TEST_MARK"
"""Environment variable by which a test's descendants are known, even when their parents have died."""

settings.register_profile("local", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("local"), max_examples=200, print_blob=True)
settings.load_profile("ci" if CI else "local")


@pytest.fixture
def missing() -> Callable[[str], NoReturn]:
    """Call with the reason when a service is missing: skips here, fails in CI."""

    def give_up(reason: str) -> NoReturn:
        if CI:
            pytest.fail(f"{reason} (CI is set, so this is a failure)")
        pytest.skip(reason)

    return give_up


def wait_until(condition: Callable[[], object], timeout: float = GRACE) -> bool:
    """Whether `condition` comes true within `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def describe(process: psutil.Process) -> str:
    """One line about a process, whatever state it is in."""
    try:
        return f"{process.pid} {process.status()} {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid} gone"


def _of_python(process: psutil.Process) -> bool:
    """Whether multiprocessing itself keeps this process for the interpreter's whole life."""
    line = " ".join(process.cmdline())
    return "multiprocessing.resource_tracker" in line or "multiprocessing.forkserver" in line


def _marked(mark: str) -> set[psutil.Process]:
    """Processes that carry the mark in their environment; orphans too."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.add(process)
        except (psutil.Error, OSError):
            continue
    return found


def left_processes(before: set[psutil.Process], mark: str) -> set[psutil.Process]:
    """Return children (zombies too) and marked orphans that were not there `before`."""
    left = set()
    for process in set(psutil.Process().children(recursive=True)) | _marked(mark):
        try:
            if process not in before and not _of_python(process):
                left.add(process)
        except psutil.ZombieProcess:
            left.add(process)
        except psutil.Error:
            continue
    return left


def listening() -> set[tuple[str, int]]:
    """Addresses on which this process listens."""
    return {tuple(c.laddr) for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN}


def blocking_threads() -> set[threading.Thread]:
    """Threads that would keep the interpreter from ending."""
    return {t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()}


_OF_THE_SYSTEM = ("/dev/", "/proc/", "/usr/", "/sys/", "/var/lib/libuuid/")
"""The last: each thread that makes the first of its UUIDs opens libuuid's clock, and no one closes it."""


def open_files() -> set[str]:
    """Regular files and named pipes that this process holds open, and its unnamed pipes."""
    held = set()
    try:
        numbers = os.listdir("/proc/self/fd")
    except FileNotFoundError:  # macOS
        return held
    for number in numbers:
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if target.startswith(("pipe:", "/")) and not target.startswith(_OF_THE_SYSTEM):
            held.add(f"{number} -> {target}")
    return held


def in_folder(path: Path, *names: str) -> bool:
    """Whether a test file lies in one of these folders of ``tests``."""
    parts = path.relative_to(TESTS).parts if path.is_relative_to(TESTS) else ()
    return bool(parts) and parts[0] in names


TOGETHER = ("services", "notebooks")
"""Folders whose tests run in one process: their servers are started once."""
OWN_SERVERS = ("slurm", "azure")
"""Of the services, those that share no server with the others."""


class Scheduling(LoadScopeScheduling):
    """Gives a process the tests of a file, or of a folder of `TOGETHER`, as a whole: they share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        folder = file.split("/")[1]
        own = next((name for name in OWN_SERVERS if name in file), "")
        return f"{folder} {own}" if folder in TOGETHER else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: then no process is left with it alone at the end."""
    items.sort(key=lambda item: not in_folder(item.path, *TOGETHER))


def pytest_collection_finish() -> None:
    """What is imported stays: it is not gone through each time that a test looks for what it has left."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What tests print of file names that are no text cannot go from process to process as it is."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True, scope="session")
def arrow_is_warm() -> None:
    """Arrow opens a pipe for signals with the first CSV that it reads while somebody handles any, and keeps it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs tests behind a script ignores it
    pa_csv.read_csv(io.BytesIO(b"a\n1\n"))
    signal.signal(signal.SIGINT, before)
    uuid.uuid1()  # libuuid does so with its clock's file, where the system has one; Dask uses it


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Assert that tests with real processes leave none behind, and no socket, file or thread either.

    Fixtures with a wider scope come first and so belong to the `before` of this one.
    """
    if not in_folder(request.path, "conformance", "runner", "integration", "notebooks"):
        yield
        return
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    processes = set(psutil.Process().children(recursive=True))
    sockets, threads, files = listening(), blocking_threads(), open_files()
    yield
    if not wait_until(lambda: not left_processes(processes, mark)):
        left = left_processes(processes, mark)
        lines = [describe(process) for process in left]
        for process in left:  # so that the next test starts clean
            try:
                process.kill()
            except psutil.Error:
                continue
        pytest.fail("processes left: " + "; ".join(lines))
    gc.collect()
    assert wait_until(lambda: listening() <= sockets), f"sockets left listening: {listening() - sockets}"
    assert wait_until(lambda: blocking_threads() <= threads), f"threads left: {blocking_threads() - threads}"
    # Collected at each look: a thread that has just ended may have been the last to know of what holds a file.
    closed = open_files() <= files or wait_until(lambda: gc.collect() >= 0 and open_files() <= files)
    assert closed, f"files left open: {open_files() - files}"
