from __future__ import annotations

import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask
import pytest

from daskbatch import UsageError
from daskbatch.options.compute import parse_compute
from daskbatch.queues.coordinator import coordinator_job
from daskbatch.queues.job import QUEUES, cancel_command, job_of, walltime_seconds
from daskbatch.spec import Compute

TLS = {"ca_file": "/home/u/out dir/ca", "cert": "/home/u/cert", "key": "/home/u/key"}
LEAST: dict[str, Any] = {"cores": 4, "memory": "8GB"}
HEADERS = {
    "htcondor": ["RequestCpus = MY.DaskWorkerCores", "MY.DaskWorkerCores = 4", "MY.DaskWorkerMemory = 8000000000"],
    "lsf": ["#BSUB -J daskbatch", "#BSUB -q long", '#BSUB -P "p1"', "#BSUB -n 4", "#BSUB -W 1:30"],
    "moab": ["#PBS -N daskbatch", "#PBS -q long", "#PBS -A p1", "#PBS -l walltime=1:30:00"],
    "oar": ["#OAR -n daskbatch", "#OAR -q long", "#OAR --project p1", "#OAR -l /nodes=1/core=4,walltime=1:30:00"],
    "pbs": ["#PBS -q long", "#PBS -A p1", "#PBS -l select=1:ncpus=4:mem=7630MB", "#PBS -l walltime=1:30:00"],
    "sge": ["#$ -N daskbatch", "#$ -q long", "#$ -P p1", "#$ -l h_rt=1:30:00"],
    "slurm": ["#SBATCH -J daskbatch", "#SBATCH -p long", "#SBATCH -A p1", "#SBATCH --cpus-per-task=4"],
}
"""Some lines of each queue's script, of the target that `target` makes."""


@pytest.fixture(autouse=True)
def no_configuration_of_the_users() -> Iterator[None]:
    import dask_jobqueue.config  # noqa: F401 - it adds its defaults to the configuration

    with warnings.catch_warnings(), dask.config.set({}):
        warnings.filterwarnings("ignore", message="OAR Job memory")
        yield


def target(kind: str, **more: Any) -> Compute:
    given: dict[str, Any] = {"type": kind, "name": "t", **LEAST}
    if kind == "htcondor":
        given["disk"] = "1GB"
    else:
        account = "account" if kind in ("slurm", "pbs", "moab") else "project"
        given |= {"queue": "long", account: "p1", "walltime": "1:30" if kind == "lsf" else "1:30:00"}
    return parse_compute(given | more)[0]


def script(
    compute: Compute,
    threads: int | None = 3,
    log_directory: str | None = None,
    tls: Mapping[str, str] = TLS,
    environment: Mapping[str, str] | None = None,
) -> str:
    job = job_of(
        compute,
        "daskbatch-1",
        scheduler="tls://10.0.0.1:4321",
        threads=threads,
        tls=tls,
        log_directory=log_directory,
        environment=environment or {},
    )
    return str(job.job_script())  # type: ignore[no-untyped-call]


def command(text: str) -> list[str]:
    """The words of the worker's command, as the job's shell splits them."""
    line = next(line for line in text.splitlines() if "dask_worker" in line)
    if line.startswith("Arguments"):  # HTCondor doubles quotes within its own
        line = line.split("'", 1)[1].rsplit("'", 1)[0].replace("''", "'").replace('""', '"').rpartition("; ")[2]
    return shlex.split(line)


def option(words: list[str], name: str) -> str:
    """The last one counts."""
    return words[len(words) - words[::-1].index(name)]


@pytest.mark.parametrize("kind", sorted(QUEUES))
def test_a_job_is_one_worker_without_nanny_over_tls(kind: str) -> None:
    words = command(script(target(kind)))
    assert words[:4] == [sys.executable, "-m", "distributed.cli.dask_worker", "tls://10.0.0.1:4321"]
    assert option(words, "--name") == "daskbatch-1"
    assert option(words, "--nthreads") == "3"
    assert option(words, "--death-timeout") == "60"
    assert option(words, "--protocol") == "tls"
    assert [option(words, f"--tls-{name}") for name in ("ca-file", "cert", "key")] == list(TLS.values())
    assert "--no-nanny" in words
    assert "--no-dashboard" in words
    assert "--nworkers" not in words


@pytest.mark.parametrize("kind", sorted(QUEUES))
def test_what_the_queue_is_asked_for(kind: str) -> None:
    lines = script(target(kind)).splitlines()
    assert [line for line in HEADERS[kind] if line not in lines] == []


@pytest.mark.parametrize("kind", sorted(QUEUES))
def test_the_script_says_when_it_began_and_what_it_may_take(kind: str) -> None:
    text = script(target(kind), environment={"ONE": "it's $HOME", "DASK_X": "[]"})
    if kind == "htcondor":
        assert "-c 'export DASKBATCH_JOB_START=`date +%s`; export ONE=" in text
        assert "$(date" not in text  # a macro of HTCondor
        assert "DASKBATCH_JOB_WALLTIME" not in text
        return
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert lines[first : first + 2] == [
        "export DASKBATCH_JOB_START=$(date +%s)",
        "export DASKBATCH_JOB_WALLTIME=5400",
    ]
    shown = "\n".join(line for line in lines if line.startswith("export")) + '\necho "$ONE" "$DASK_X"'
    done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True)
    assert done.stdout == "it's $HOME []\n"


@pytest.mark.parametrize("kind", sorted(QUEUES))
def test_no_key_is_in_a_script(kind: str, tmp_path: Path) -> None:
    from distributed.security import Security

    from daskbatch.cluster.credentials import write_credentials

    security = Security.temporary()
    paths = write_credentials(security, str(tmp_path))
    tls = {"ca_file": paths["tls_ca_file"], "cert": paths["tls_worker_cert"], "key": paths["tls_worker_key"]}
    text = script(target(kind), tls=tls)
    assert tls["key"] in text
    assert "PRIVATE KEY" not in text
    assert "BEGIN CERTIFICATE" not in text
    keys = [Path(path).read_text().splitlines()[1] for path in paths.values()]
    assert [line for line in keys if line in text] == []


@pytest.mark.parametrize("kind", sorted(QUEUES))
def test_each_queue_has_a_command_that_ends_a_job(kind: str) -> None:
    names = {"slurm": "scancel", "pbs": "qdel", "sge": "qdel", "lsf": "bkill", "oar": "oardel", "moab": "canceljob"}
    assert cancel_command(target(kind)) == names.get(kind, "condor_rm")


def test_a_worker_of_slurm_is_not_requeued_unless_the_user_says_so() -> None:
    own = ["--gres=gpu:1"]
    assert "#SBATCH --gres=gpu:1\n#SBATCH --no-requeue\n" in script(target("slurm", job_extra_directives=own))
    assert "no-requeue" not in script(target("slurm", job_extra_directives=["--requeue"]))
    with dask.config.set({"jobqueue.slurm.job-extra-directives": ["--requeue"]}):
        assert "no-requeue" not in script(target("slurm"))
    assert all("requeue" not in script(target(kind)) for kind in QUEUES if kind != "slurm")


def test_older_names_of_keywords_count() -> None:
    older = {"job_extra": ["--gres=gpu:1"], "env_extra": ["module load cuda"], "extra": ["--resources", "A=1"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        text = script(target("slurm", **older))
    assert "#SBATCH --gres=gpu:1\n#SBATCH --no-requeue\n" in text
    assert text.index("DASKBATCH_JOB_START") < text.index("\nmodule load cuda\n")
    assert option(command(text), "--resources") == "A=1"


def test_what_the_target_does_not_say_is_as_jobqueue_yaml_has_it() -> None:
    theirs = {
        "queue": "short",
        "walltime": "00:20:00",
        "memory": "2GB",
        "cores": 2,
        "interface": "ib0",
        "python": "/opt/python",
        "death-timeout": 300,
        "worker-extra-args": ["--lifetime", "19m"],
        "job-script-prologue": ["module load x"],
        "job-extra-directives": ["--constraint=fast"],
        "local-directory": "/scratch",
    }
    with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in theirs.items()}):
        text = script(Compute("slurm", "t", {}), threads=None)
        assert "#SBATCH -p long" in script(target("slurm"))
    words = command(text)
    for line in ("-p short", "-t 00:20:00", "--mem=2G", "--cpus-per-task=2", "--constraint=fast", "--no-requeue"):
        assert f"#SBATCH {line}\n" in text
    assert "\nexport DASKBATCH_JOB_WALLTIME=1200\n" in text
    assert "\nmodule load x\n" in text
    assert words[0] == "/opt/python"
    assert option(words, "--nthreads") == "2"
    for name, value in (("interface", "ib0"), ("death-timeout", "300"), ("lifetime", "19m")):
        assert option(words, f"--{name}") == value
    assert option(words, "--local-directory") == "/scratch"


def test_another_section_of_jobqueue_yaml() -> None:
    section = {**dask.config.get("jobqueue.slurm"), "queue": "gpus", "memory": "9GB", "walltime": "5"}
    with dask.config.set({"jobqueue.mine": section}):
        text = script(parse_compute({"type": "slurm", "config_name": "mine", "cores": 1})[0])
    assert "#SBATCH -p gpus\n" in text
    assert "DASKBATCH_JOB_WALLTIME=300\n" in text


def test_the_targets_own_words_are_kept() -> None:
    own = {
        "job_name": "mine",
        "python": "srun python",
        "death_timeout": 5,
        "worker_extra_args": ["--lifetime", "1h"],
        "job_script_prologue": ["source env.sh"],
        "log_directory": "/var/tmp",
        "job_directives_skip": ["--mem"],
    }
    text = script(target("slurm", **own), log_directory="/elsewhere")
    words = command(text)
    assert words[:2] == ["srun", "python"]
    assert option(words, "--death-timeout") == "5"
    assert option(words, "--lifetime") == "1h"
    assert "#SBATCH -J mine\n" in text
    assert "#SBATCH -o /var/tmp/mine-%J.out\n" in text
    assert "--mem=" not in text
    assert "/elsewhere" not in text


def test_slots_are_threads_and_cores_are_what_is_asked_for() -> None:
    text = script(target("slurm", cores=16), threads=4)
    assert "--cpus-per-task=16" in text
    assert option(command(text), "--nthreads") == "4"
    assert "--cpus-per-task=4" in script(Compute("slurm", "t", {"memory": "1GB"}), threads=4)
    assert option(command(script(target("slurm", cores=16), threads=None)), "--nthreads") == "16"


def test_a_log_directory_with_a_space() -> None:
    """Slurm refuses the words after the space."""
    for kind in ("slurm", "lsf"):
        lines = script(target(kind), log_directory="/tmp/a b").splitlines()
        assert sorted(shlex.split(line)[2] for line in lines if " -e " in line or " -o " in line) == [
            f"/tmp/a b/daskbatch{'-1' if kind == 'lsf' else ''}-%J.{end}" for end in ("err", "out")
        ]


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (Compute("slurm", "big", {"cores": 1}), r"compute='big': how much memory.*add memory: 8GB"),
        (Compute("slurm", "big", {"memory": "1GB"}), r"compute='big': how many cores.*add cores.*process_count_per"),
        (Compute("htcondor", "big", LEAST), r"compute='big'.*disk"),
    ],
)
def test_what_is_missing_is_said(compute: Compute, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        script(compute, threads=None)


def test_without_dask_jobqueue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(UsageError, match=r"compute='t' is of type slurm.*pip install dask-jobqueue$"):
        script(Compute("slurm", "t", LEAST))


@pytest.mark.parametrize(
    ("kind", "text", "seconds"),
    [
        ("slurm", "30", 1800),
        ("slurm", "30:15", 1815),
        ("slurm", "01:30:15", 5415),
        ("slurm", "2-12", 216000),
        ("slurm", "2-12:30", 217800),
        ("slurm", "2-12:30:15", 217815),
        ("slurm", "0", None),
        ("slurm", "UNLIMITED", None),
        ("slurm", "1:00:00:00", None),
        ("lsf", "30", 1800),
        ("lsf", "1:30", 5400),
        ("lsf", "1:30/fasthost", 5400),
        ("lsf", "1:30:00", None),
        ("pbs", "90", 90),
        ("pbs", "1:30", 90),
        ("pbs", "01:30:00", 5400),
        ("pbs", "1-00:00:00", None),
        ("sge", "90", 90),
        ("sge", "1::1", 3601),
        ("sge", "1:30:00", 5400),
        ("oar", "2", 7200),
        ("oar", "1:30", 5400),
        ("oar", "1:30:15", 5415),
        ("moab", "1:02:03:04", 93784),
        ("pbs", "soon", None),
        ("pbs", "", 1800),
    ],
)
def test_walltimes(kind: str, text: str, seconds: int | None) -> None:
    """An empty one is that of dask-jobqueue's own configuration, half an hour."""
    assert walltime_seconds(Compute(kind, "t", {"walltime": text})) == seconds


def test_the_worker_is_that_of_distributed_whatever_jobqueue_yaml_says() -> None:
    with dask.config.set({"jobqueue.slurm.worker-command": "dask_cuda.cli", "jobqueue.slurm.processes": 4}):
        words = command(script(target("slurm")))
    assert words[1:3] == ["-m", "distributed.cli.dask_worker"]
    assert "--no-nanny" in words
    assert "--nworkers" not in words


def test_jobs_of_another_pool_are_cancelled_there() -> None:
    assert cancel_command(target("htcondor", cancel_command_extra=["-pool", "a b"])) == "condor_rm -pool 'a b'"
    with dask.config.set({"jobqueue.htcondor.cancel-command-extra": ["-pool", "c"]}):
        assert cancel_command(target("htcondor")) == "condor_rm -pool c"


def test_ctrl_c_stays_as_it_is() -> None:
    # Given a program that has asked for a job in a thread, and one that has in its main thread
    program = (
        "import signal, sys, threading\n"
        "from daskbatch.queues.job import job_class\n"
        "from daskbatch.spec import Compute\n"
        "before = signal.getsignal(signal.SIGINT), signal.signal\n"
        "thread = threading.Thread(target=job_class, args=(Compute('slurm'),))\n"
        "thread.start(); thread.join()\n"
        "assert 'dask_jobqueue.slurm' in sys.modules\n"
        "job_class(Compute('pbs'))\n"
        "assert (signal.getsignal(signal.SIGINT), signal.signal) == before\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("pbs", "#PBS -v DASKBATCH_VARIABLES"),
        ("moab", "#PBS -v DASKBATCH_VARIABLES"),
        ("sge", "#$ -v DASKBATCH_VARIABLES"),
        ("htcondor", "getenv = DASKBATCH_VARIABLES"),
    ],
)
def test_the_coordinators_job_has_values_handed_on_by_name(kind: str, line: str) -> None:
    job = coordinator_job(target(kind), "/out", "/out/log", ["DASKBATCH_VARIABLES"])
    assert line in job.job_script().splitlines()
    assert "DASKBATCH_VARIABLES" not in coordinator_job(target(kind), "/out", "/out/log").job_script()


def test_a_queue_that_hands_nothing_on_is_refused() -> None:
    with pytest.raises(UsageError, match="hands no environment on"):
        coordinator_job(target("oar"), "/out", "/out/log", ["DASKBATCH_VARIABLES"])


@pytest.mark.parametrize("kind", sorted(QUEUES))
def test_a_coordinator_knows_that_it_is_one(kind: str) -> None:
    assert "DASKBATCH_COORDINATOR=1 " in coordinator_job(target(kind), "/out", "/out/log").job_script()
