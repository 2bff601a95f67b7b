from __future__ import annotations

import stat
from pathlib import Path

import pytest

from daskbatch.queues import states
from daskbatch.queues.states import JobState, of_bjobs, of_qstat, of_qstat_full, of_scontrol, of_squeue, states_of

QSTAT_FULL = """\
Job Id: 41.head
    Job_Name = daskbatch
    job_state = Q
    comment = Not Running: Insufficient amount of resource: ncpus (R: 64 A: 0 T: 6
\t4)
Job Id: 42.head
    Job_Name = daskbatch
    job_state = R
    comment = Job run at Thu Nov 26 at 02:00
Job Id: 43.head
    job_state = F
    Exit_status = 0
Job Id: 44.head
    job_state = F
    Exit_status = 271
Job Id: 45.head
    job_state = F
    Exit_status = 1
Job Id: 46.head
    job_state = H
Job Id: 47.head
    job_state = F
    Exit_status = -29

qstat: Unknown Job Id 48.head
"""
QSTAT = """\
job-ID  prior   name       user         state submit/start at     queue                          slots ja-task-ID
-----------------------------------------------------------------------------------------------------------------
     51 0.55500 daskbatch  u            r     11/26/2026 02:00:00 all.q@node1                        4
     52 0.00000 daskbatch  u            qw    11/26/2026 02:00:00                                    4
     53 0.00000 daskbatch  u            Eqw   11/26/2026 02:00:00                                    4
     54 0.55500 daskbatch  u            dr    11/26/2026 02:00:00 all.q@node1                        4
"""


def test_squeue() -> None:
    text = (
        "1|PENDING|Resources\n2|PENDING|None\n3|RUNNING|None\n4|COMPLETING|None\n5|PREEMPTED|None\n6|CANCELLED|None\n"
        "7|TIMEOUT|TimeLimit\n8|NODE_FAIL|None\n9|OUT_OF_MEMORY|OutOfMemory\n10|FAILED|NonZeroExitCode\n"
        "11|COMPLETED|None\n12|CONFIGURING|None\n13|REQUEUE_HOLD|launch failed requeued held\n"
    )
    assert of_squeue(text) == {
        "1": JobState("pending", "Resources"),
        "2": JobState("pending"),
        "3": JobState("running"),
        "4": JobState("running"),
        "5": JobState("ended", "PREEMPTED"),
        "6": JobState("ended", "CANCELLED"),
        "7": JobState("ended", "TIMEOUT"),
        "8": JobState("ended", "NODE_FAIL"),
        "9": JobState("ended", "OUT_OF_MEMORY"),
        "10": JobState("ended", "FAILED"),
        "11": JobState("ended", "COMPLETED"),
        "12": JobState("pending"),
        "13": JobState("pending", "launch failed requeued held"),
    }
    assert of_squeue("slurm_load_jobs error: Invalid job id specified\n") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("JobId=3 JobState=PENDING Reason=PartitionDown X=(null)", JobState("pending", "PartitionDown")),
        ("JobId=3 JobState=PENDING Reason=None", JobState("pending")),
        ("JobId=3 JobState=RUNNING Reason=None", JobState("running")),
        ("JobId=3 JobState=COMPLETING Reason=None", JobState("running")),
        ("JobId=3 JobState=PREEMPTED,COMPLETING Reason=None", JobState("ended", "PREEMPTED")),
        ("JobId=3 JobState=TIMEOUT Reason=TimeLimit", JobState("ended", "TIMEOUT")),
        ("slurm_load_jobs error: Invalid job id specified", JobState("ended")),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", None),
        ("", None),
    ],
)
def test_scontrol(text: str, expected: JobState | None) -> None:
    assert of_scontrol(text) == expected


def test_qstat_of_pbs() -> None:
    found = of_qstat_full(QSTAT_FULL)
    reason = "Not Running: Insufficient amount of resource: ncpus (R: 64 A: 0 T: 64)"
    assert {id_: state for id_, state in found.items() if id_.isdigit()} == {
        "41": JobState("pending", reason),
        "42": JobState("running"),
        "43": JobState("ended", "COMPLETED"),
        "44": JobState("ended", "CANCELLED"),
        "45": JobState("ended", "FAILED"),
        "46": JobState("pending"),
        "47": JobState("ended", "TIMEOUT"),
        "48": JobState("ended"),
    }
    assert found["41.head"] == found["41"]


def test_qstat_of_sge() -> None:
    assert of_qstat(QSTAT) == {
        "51": JobState("running"),
        "52": JobState("pending", "state qw"),
        "53": JobState("pending", "state Eqw"),
        "54": JobState("running"),
    }


def test_bjobs() -> None:
    text = (
        "61|PEND|-\n62|RUN|-\n63|DONE|-\n64|EXIT|TERM_RUNLIMIT: job killed after reaching LSF run time limit\n"
        "65|EXIT|TERM_OWNER: job killed by owner\n66|EXIT|-\n67|PSUSP|-\n68|SSUSP|-\n"
        "69|EXIT|TERM_PREEMPT: job killed after preemption\n70|EXIT|TERM_MEMLIMIT: job killed\nJob <71> is not found\n"
    )
    assert of_bjobs(text) == {
        "61": JobState("pending"),
        "62": JobState("running"),
        "63": JobState("ended", "COMPLETED"),
        "64": JobState("ended", "TIMEOUT"),
        "65": JobState("ended", "CANCELLED"),
        "66": JobState("ended", "FAILED"),
        "67": JobState("pending", "suspended"),
        "68": JobState("running"),
        "69": JobState("ended", "PREEMPTED"),
        "70": JobState("ended", "OUT_OF_MEMORY"),
        "71": JobState("ended"),
    }


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH: the queue's commands in it are ours."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def say(folder: Path, program: str, script: str) -> None:
    """Have a program, which notes what it is called with."""
    path = folder / program
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/{program}.calls\n{script}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def calls(folder: Path, program: str) -> list[str]:
    return (folder / f"{program}.calls").read_text().splitlines()


def test_slurm_is_asked_once_for_all(programs: Path) -> None:
    say(programs, "squeue", "echo '1|RUNNING|None'; echo '2|PENDING|Priority'")
    assert states_of("slurm", ["1", "2"]) == {"1": JobState("running"), "2": JobState("pending", "Priority")}
    assert calls(programs, "squeue") == ["--noheader --states=all -o %i|%T|%r -j 1,2"]


def test_what_squeue_has_forgotten_and_what_is_on_its_way_out(programs: Path) -> None:
    """``1`` is asked for again, ``11`` is not, though its number ends alike."""
    say(programs, "squeue", "echo '1|COMPLETING|None'; echo '11|RUNNING|None'")
    say(
        programs,
        "scontrol",
        'case "$4" in 1) echo "JobId=1 JobState=CANCELLED Reason=None";; 3) echo "JobId=3 JobState=TIMEOUT Reason=x";;'
        ' *) echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1;; esac',
    )
    assert states_of("slurm", ["1", "11", "3", "4"]) == {
        "1": JobState("ended", "CANCELLED"),
        "11": JobState("running"),
        "3": JobState("ended", "TIMEOUT"),
        "4": JobState("ended"),
    }
    assert calls(programs, "scontrol") == [f"--oneliner show job {id_}" for id_ in ("1", "3", "4")]


def test_the_only_job_is_one_that_slurm_does_not_know(programs: Path) -> None:
    for program in ("squeue", "scontrol"):
        say(programs, program, "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert states_of("slurm", ["9"]) == {"9": JobState("ended")}


def test_a_controller_that_does_not_answer_says_nothing_of_jobs(programs: Path) -> None:
    say(programs, "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    say(programs, "scontrol", "exit 1")
    assert states_of("slurm", ["1", "2"]) == {}
    assert not (programs / "scontrol.calls").exists()


def test_a_warning_of_squeue_is_no_failure(programs: Path) -> None:
    say(programs, "squeue", "echo 'squeue: error: a plugin is old' >&2; echo '1|RUNNING|None'")
    assert states_of("slurm", ["1"]) == {"1": JobState("running")}


def test_a_command_that_hangs_is_given_up(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "_PATIENCE", 0.2)
    say(programs, "squeue", "exec /bin/sleep 60")
    assert states_of("slurm", ["1"]) == {}


def test_pbs_and_lsf_tell_of_others_where_one_id_is_unknown(programs: Path) -> None:
    say(programs, "qstat", f"/bin/cat <<'END'\n{QSTAT_FULL}END\nexit 153")
    found = states_of("pbs", ["42", "48"])
    assert (found["42"], found["48"]) == (JobState("running"), JobState("ended"))
    assert calls(programs, "qstat") == ["-f -x 42 48"]
    say(programs, "bjobs", "echo '61|RUN|-'; echo 'Job <62> is not found' >&2; exit 255")
    assert states_of("lsf", ["61", "62"]) == {"61": JobState("running"), "62": JobState("ended")}


def test_sge_lists_what_is_there(programs: Path) -> None:
    say(programs, "qstat", f"/bin/cat <<'END'\n{QSTAT}END")
    assert states_of("sge", ["52", "99"]) == {"52": JobState("pending", "state qw"), "99": JobState("ended")}
    say(programs, "qstat", "echo 'error: cannot reach qmaster' >&2; exit 1")
    assert states_of("sge", ["52", "99"]) == {}


@pytest.mark.parametrize("queue", ["slurm", "pbs", "moab", "sge", "lsf", "oar", "htcondor"])
def test_without_the_queues_programs_nothing_is_known(queue: str, programs: Path) -> None:
    assert states_of(queue, ["1"]) == {}
    assert states_of(queue, []) == {}
