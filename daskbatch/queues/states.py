"""What batch queues say of jobs: whether they wait, run or are over, and why."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["JobState", "of_bjobs", "of_qstat", "of_qstat_full", "of_scontrol", "of_squeue", "states_of"]

_PATIENCE = 15.0  # seconds for the queue's answer
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
_UNKNOWN = "Invalid job id"  # in Slurm's words
_RUNNING = {"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT", "COMPLETING"}


class JobState(NamedTuple):
    """How a job is."""

    state: str
    """``"pending"``, ``"running"`` or ``"ended"``."""
    reason: str = ""
    """Why it waits, in the queue's words; how it ended, as Slurm writes it: ``"PREEMPTED"``, ``"CANCELLED"``,
    ``"TIMEOUT"``, ``"NODE_FAIL"``, ``"OUT_OF_MEMORY"``, ``"FAILED"`` or ``"COMPLETED"``. Empty: not known."""


def states_of(queue: str, ids: Sequence[str]) -> dict[str, JobState]:
    """Ask the queue.

    Parameters
    ----------
    queue : str
        Type of the compute target.
    ids : sequence of str

    Returns
    -------
    dict
        Id to state; what is not known is not there.
    """
    if not ids:
        return {}
    if queue == "slurm":
        return _of_slurm(ids)
    if queue in ("pbs", "moab"):  # one id that it does not know any more makes the command fail, though it tells
        return of_qstat_full(_answer("qstat", "-f", "-x", *ids).text)
    if queue == "lsf":
        columns = "jobid stat exit_reason delimiter='|'"
        return of_bjobs(_answer("bjobs", "-noheader", "-o", columns, *ids).text)
    if queue == "sge":
        answer = _answer("qstat")
        if not answer.good:
            return {}
        known = of_qstat(answer.text)
        return {id_: known.get(id_, JobState("ended")) for id_ in ids}
    return {}


def _of_slurm(ids: Sequence[str]) -> dict[str, JobState]:
    answer = _answer("squeue", "--noheader", "--states=all", "-o", "%i|%T|%r", "-j", ",".join(ids))
    if not answer.good and _UNKNOWN not in answer.text:
        return {}
    known = of_squeue(answer.text)
    for id_ in ids:
        if id_ in known and f"\n{id_}|COMPLETING|" not in f"\n{answer.text}":
            continue
        # Forgotten by squeue, or on its way out: the other command may tell how.
        told = of_scontrol(_answer("scontrol", "--oneliner", "show", "job", id_).text)
        if told is not None:
            known[id_] = told
    return known


class _Answer(NamedTuple):
    """What a command says."""

    good: bool
    text: str
    """Its errors too."""


def _answer(*command: str) -> _Answer:
    try:
        done = subprocess.run(command, timeout=_PATIENCE, capture_output=True, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return _Answer(False, "")
    return _Answer(done.returncode == 0, done.stdout + done.stderr)


def of_squeue(text: str) -> dict[str, JobState]:
    """Read ``squeue --noheader -o '%i|%T|%r'``."""
    found = {}
    for line in text.splitlines():
        id_, state, reason = [*line.strip().split("|", 2), "", ""][:3]
        if state in _WAITING:
            found[id_] = JobState("pending", "" if reason == "None" else reason)
        elif state in _RUNNING:
            found[id_] = JobState("running")
        elif state:
            found[id_] = JobState("ended", state)
    return found


def of_scontrol(text: str) -> JobState | None:
    """Read ``scontrol --oneliner show job ID``. A job that it does not know is over; None where it tells nothing."""
    match = re.search(r"\bJobState=(\S+)", text)
    if match is None:
        return JobState("ended") if _UNKNOWN in text else None
    state = match[1].split(",")[0]
    if state in _WAITING:
        reason = re.search(r"\bReason=(\S+)", text)
        return JobState("pending", "" if reason is None or reason[1] == "None" else reason[1])
    return JobState("running") if state in _RUNNING else JobState("ended", state)


def of_qstat_full(text: str) -> dict[str, JobState]:
    """Read ``qstat -f -x`` of PBS. A job that it does not know is over."""
    found = {}
    for id_ in re.findall(r"Unknown Job Id:? (\S+)", text, re.IGNORECASE):
        found[id_] = found[id_.split(".")[0]] = JobState("ended")
    for part in re.split(r"^Job Id: *", text, flags=re.MULTILINE)[1:]:
        id_ = part.split("\n", 1)[0].strip()
        state = re.search(r"^\s*job_state = (\w)", part, re.MULTILINE)
        comment = re.search(r"^\s*comment = (.+(?:\n\t.+)*)", part, re.MULTILINE)
        told = re.sub(r"\n\t", "", comment[1]).strip() if comment else ""
        status = re.search(r"^\s*Exit_status = (-?\d+)", part, re.MULTILINE)
        letter = state[1] if state else ""
        if letter in "QHWT" and letter:
            made = JobState("pending", told)
        elif letter in "RESU" and letter:
            made = JobState("running")
        else:
            made = JobState("ended", _pbs_ending(status[1] if status else ""))
        found[id_] = found[id_.split(".")[0]] = made
    return found


def _pbs_ending(status: str) -> str:
    """PBS tells an exit status: 256 and a signal's number where the job was killed, or a negative code of its own."""
    if status in ("271", "265", "-29"):
        return {"-29": "TIMEOUT"}.get(status, "CANCELLED")
    return {"0": "COMPLETED", "": ""}.get(status, "FAILED")


def of_qstat(text: str) -> dict[str, JobState]:
    """Read ``qstat`` of SGE: a table without the jobs that are over."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 4 and fields[0].isdigit():
            state = fields[4]
            waits = "q" in state or "E" in state
            found[fields[0]] = JobState("pending", f"state {state}") if waits else JobState("running")
    return found


def of_bjobs(text: str) -> dict[str, JobState]:
    """Read ``bjobs -noheader -o "jobid stat exit_reason delimiter='|'"`` of LSF. A job it does not know is over."""
    found = dict.fromkeys(re.findall(r"Job <(\d+)> is not found", text), JobState("ended"))
    for line in text.splitlines():
        id_, state, reason = [*line.strip().split("|", 2), "", ""][:3]
        if state in ("PEND", "PSUSP", "WAIT"):
            found[id_] = JobState("pending", "suspended" if state == "PSUSP" else "")
        elif state in ("DONE", "EXIT", "ZOMBI"):
            found[id_] = JobState("ended", "COMPLETED" if state == "DONE" else _lsf_ending(reason))
        elif state:
            found[id_] = JobState("running")
    return found


def _lsf_ending(reason: str) -> str:
    for name, ending in (
        ("TERM_RUNLIMIT", "TIMEOUT"),
        ("TERM_PREEMPT", "PREEMPTED"),
        ("TERM_MEMLIMIT", "OUT_OF_MEMORY"),
        ("TERM_OWNER", "CANCELLED"),
        ("TERM_ADMIN", "CANCELLED"),
    ):
        if name in reason:
            return ending
    return "FAILED"
