"""The upper half of a slot's process: no user code, only watching and killing.

It is the subreaper of all that its runner starts, so processes that left the session or
lost their parent are still found below it. It ends the whole tree when the runner ends,
when a deadline or the memory limit has passed, when its worker asks for it and when its
worker is gone. What happened is told once, as the verdict. Then it stays until the worker
lets it go: a worker that is killed leaves its scratch folder to its supervisors.

Linux does all of this. Elsewhere it is best effort: the runner's process group is killed,
and processes that left it are not found.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from daskbatch.worker.wire import IDLE, PHASE_NAMES, START, Page, PageState

__all__ = ["become_subreaper", "supervise"]

_LINUX = sys.platform == "linux"
_TICK = 0.1  # seconds between looks; a deadline that comes sooner is waited for exactly
_TREE_EVERY = 5  # ticks between looks at the memory of the whole tree
_KILL_PATIENCE = 5.0  # seconds; a process in uninterruptible sleep may outlast any signal
_ORPHAN_PATIENCE = 5.0  # seconds
_ONE_BY_ONE = 1.0  # seconds from the first process of a job that is sent a signal to the last
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def become_subreaper() -> None:
    """Have orphans below this process handed to it instead of to init."""
    if _LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def supervise(runner: int, page: Page, config: Mapping[str, Any], stack_fd: int) -> None:
    """Watch `runner` until it is gone with all below it; then write the verdict.

    Parameters
    ----------
    runner : int
        Process id of the lower half.
    page : Page
    config : mapping
        ``life`` (the worker's end of it says ``K`` to kill and ``G`` when this process may go) and ``verdict`` (file
        descriptors), ``parent`` (process id of the worker), ``direct`` (whether it
        is this process's parent, or a command between them is), ``timeouts`` (phase name to seconds),
        ``memory_limit`` (bytes or None), ``log_limit`` (bytes), ``scratch`` (folder that goes with the worker, or
        empty).
    stack_fd : int
        Where the runner's fault handler writes stacks.
    """
    child = _Child(runner)
    if _has_parent(config):
        reason, detail = _watch(child, page, config)
    else:  # a worker that lives and reads this is out of sight, whatever the runner may have begun by now
        reason, detail = "orphaned", {"phase": PHASE_NAMES[START]}
    state = page.state()
    if reason == "timeout":
        _ask_for_stack(runner, stack_fd)
    survivors = _kill_below(child)
    verdict = {
        "reason": reason,
        "phase": PHASE_NAMES[state.phase],
        "file": state.file,
        "index": state.index,
        "items": state.items,
        "seconds": time.monotonic() - state.began,
        "status": child.status,
        "survivors": survivors,
        "stack": _read_stack(stack_fd),
        **detail,
    }
    with contextlib.suppress(OSError):  # the worker may be gone; then nobody needs to know
        os.write(config["verdict"], json.dumps(verdict).encode() + b"\n")
    if config["scratch"] and not _let_go(config) and _is_orphan(config):
        import shutil

        from daskbatch.worker.shared_folder import noted, remove_if_left

        shared = noted(config["scratch"])
        shutil.rmtree(config["scratch"], ignore_errors=True)  # the worker's other supervisors do the same
        if shared:
            remove_if_left(shared)


class _Child:
    """The runner, until it is reaped: from then on its number may be another process's, and nothing is sent to it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.reaped = False
        self.status: int | None = None

    def has_ended(self) -> bool:
        """Whether it has. It stays to be reaped, where a system has a way to look without that."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except AttributeError:  # macOS before Python 3.13
            self.note(*os.waitpid(self.pid, os.WNOHANG))
            return self.reaped

    def ended_by(self, number: int) -> bool:
        """Whether it has ended, and by that signal."""
        if not self.reaped and hasattr(os, "waitid"):
            seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return seen is not None and (seen.si_code, seen.si_status) == (os.CLD_KILLED, number)
        return self.status is not None and os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == number

    def note(self, pid: int, status: int) -> None:
        """A process has been reaped: it may be this one."""
        if pid == self.pid:
            self.reaped, self.status = True, status


def _has_parent(config: Mapping[str, Any]) -> bool:
    """Whether the worker is there."""
    if config["direct"]:
        return bool(os.getppid() == config["parent"])
    try:
        os.kill(config["parent"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _let_go(config: Mapping[str, Any]) -> bool:
    """Wait until the worker needs nobody who would clean up after it. False: it is gone, or about to be."""
    life, parent = config["life"], _pidfd(config["parent"])
    poll = select.poll()
    poll.register(life, select.POLLIN)
    if parent is not None:
        poll.register(parent, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll(1000)}
        if life in ready:
            said = os.read(life, 1)
            if said != b"K":
                return said == b"G"
        elif ready or not _has_parent(config):
            return False


def _is_orphan(config: Mapping[str, Any]) -> bool:
    """Whether the worker is gone: its pipes close before it is."""
    give_up = time.monotonic() + _ORPHAN_PATIENCE
    while _has_parent(config):
        if time.monotonic() >= give_up:
            return False
        time.sleep(0.01)
    return True


def _watch(child: _Child, page: Page, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Wait for a reason to end the tree."""
    asked: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append("terminated"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    poll = select.poll()
    poll.register(config["life"], select.POLLIN)
    ended = _pidfd(child.pid)
    parent = _pidfd(config["parent"])
    for fd in (ended, parent):
        if fd is not None:
            poll.register(fd, select.POLLIN)
    timeouts = [config["timeouts"].get(name, 0.0) for name in PHASE_NAMES]
    limit = config["memory_limit"]
    tick = 0
    while True:
        state = page.state()
        wait = 2.5 * _TICK if state.phase == IDLE else _TICK
        if state.phase != IDLE:
            wait = min(wait, max(0.0, state.began + timeouts[state.phase] - time.monotonic()))
        ready = {fd for fd, _ in poll.poll(wait * 1000 + 0.5)}
        if asked:
            return asked[0], {}
        if ended in ready or (ended is None and child.has_ended()):
            return ("terminated" if child.ended_by(signal.SIGTERM) and _is_told_too(asked) else "exit"), {}
        if config["life"] in ready:
            return ("asked" if os.read(config["life"], 1) else "orphaned"), {}
        if parent in ready or not _has_parent(config):
            return "orphaned", {}
        if _overdue(page, state, timeouts):
            return "timeout", {"timeout": timeouts[state.phase]}
        tick += 1
        if limit is not None and state.phase != IDLE:
            used = _memory(child.pid, whole_tree=tick % _TREE_EVERY == 0, limit=limit)
            if used > limit:
                return "memory", {"memory": used, "memory_limit": limit}
        _bound_logs(config["log_limit"])


def _is_told_too(asked: Sequence[str]) -> bool:
    """Whether the signal that has ended the runner comes here as well: who ends a job does so one by one."""
    give_up = time.monotonic() + _ONE_BY_ONE
    while not asked and time.monotonic() < give_up:
        time.sleep(0.01)
    return bool(asked)


def _overdue(page: Page, state: PageState, timeouts: list[float]) -> bool:
    """Whether the phase seen before the wait is still the one that runs, and over its time."""
    if state.phase == IDLE or time.monotonic() < state.began + timeouts[state.phase]:
        return False
    # The page is written without a lock: only a state that stands still can be trusted.
    return page.state() == state and page.state() == state


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # macOS, Linux before 5.3
        return None


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    return found


def _descendants(pid: int) -> list[int]:
    found = _children(pid)
    for child in found:
        found += _children(child)
    return found


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)


def _memory(runner: int, whole_tree: bool, limit: int) -> int:
    """Bytes in use; pages that a tree's processes share count once."""
    if not whole_tree:
        return _resident(runner)
    tree = [runner, *_descendants(runner)]
    used = sum(map(_resident, tree))
    # Forked workers share most pages: only a sum past the limit is worth the exact count.
    return sum(map(_proportional, tree)) if used > limit and len(tree) > 1 else used


def _bound_logs(limit: int) -> None:
    """Empty a log that has grown past `limit`, saying so in it: a print in a loop must not fill the disk."""
    for fd in (1, 2):
        with contextlib.suppress(OSError):
            if os.fstat(fd).st_size > limit:
                os.ftruncate(fd, 0)
                os.write(fd, b"[daskbatch: this log passed %d bytes; what stood here was dropped]\n" % limit)


def _ask_for_stack(runner: int, stack_fd: int) -> None:
    """Let the fault handler write where the runner hangs; it does so without the GIL."""
    with contextlib.suppress(OSError, AttributeError):
        os.kill(runner, signal.SIGUSR2)
        for _ in range(20):
            time.sleep(0.005)
            if os.fstat(stack_fd).st_size:
                time.sleep(0.005)
                return


def _read_stack(stack_fd: int) -> str:
    with contextlib.suppress(OSError):
        return os.pread(stack_fd, 1 << 16, 0).decode("utf-8", "replace")
    return ""


def _kill_below(child: _Child) -> list[int]:
    """Kill and reap everything below this process.

    Returns
    -------
    list of int
        Process ids that no signal ended in time.
    """
    give_up = time.monotonic() + _KILL_PATIENCE
    # A runner that is reaped already was so a moment ago, and a group that has members keeps its number.
    group_is_its_own = True
    while time.monotonic() < give_up:
        if group_is_its_own:
            # When it has ended by itself too: without /proc nothing else finds what it has left.
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)
        for pid in _descendants(os.getpid()) or ([] if child.reaped else [child.pid]):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                child.note(pid, status)
                if pid == 0:
                    break
        except ChildProcessError:
            return []
        group_is_its_own = not child.reaped
        time.sleep(0.001)
    return _descendants(os.getpid())
