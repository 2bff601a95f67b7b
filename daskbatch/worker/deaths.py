"""How a runner has ended, in words."""

from __future__ import annotations

import os
import signal
from typing import Any

__all__ = ["describe_death", "user_stack", "was_killed"]


def was_killed(verdict: dict[str, Any]) -> bool:
    """Whether the end has come from somewhere else, for all that is known."""
    status = verdict["status"]
    killed = verdict["reason"] == "exit" and status is not None and os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return killed or verdict["reason"] == "lost"


def describe_death(verdict: dict[str, Any]) -> tuple[str, str]:
    """Name and explain a runner's end.

    Returns
    -------
    error, message : str
    """
    phase, reason = verdict["phase"], verdict["reason"]
    doing = {"start": "starting, importing or in init()", "read": "reading the mini-batch", "run": "in run()"}.get(
        phase, f"in phase {phase}"
    )
    if reason == "timeout":
        option = {"start": "init_timeout", "read": "read_timeout", "run": "run_invocation_timeout"}.get(phase, phase)
        name = {"start": "InitTimeout", "read": "ReadTimeout", "run": "RunTimeout"}.get(phase, "Timeout")
        limit = verdict["timeout"]
        return name, f"still {doing} after {limit:g} s ({option}={limit:g}); its processes were killed"
    if reason == "memory":
        used, limit = verdict["memory"] / 2**20, verdict["memory_limit"] / 2**20
        return "MemoryLimit", (
            f"used {used:.0f} MiB while {doing}; runner_memory_limit allows {limit:.0f} MiB; its processes were killed"
        )
    if reason == "garbage":
        return "Crashed", f"the process wrote into daskbatch's own pipe while {doing}"
    if reason == "exit" and verdict["status"] is not None:
        code = os.waitstatus_to_exitcode(verdict["status"])
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return "Crashed", f"the process was ended by {name} while {doing}"
        return "ExitedEarly", f"the process exited with code {code} while {doing}"
    return "RunnerLost", f"the process was lost ({reason}) while {doing}"


def user_stack(stack: str, package_root: str) -> str:
    """The fault handler's text without frames of ours."""
    ours = os.path.join(package_root, "daskbatch") + os.sep
    return "\n".join(line for line in stack.splitlines() if ours not in line and '"<string>"' not in line)
