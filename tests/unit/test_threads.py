"""Which limits of threads a runner is told."""

from __future__ import annotations

from pathlib import Path

import dask
import distributed  # noqa: F401  # brings the defaults of its nanny
import pytest

from daskbatch.worker import threads
from daskbatch.worker.threads import FOLLOWERS, VARIABLES, set_by_dask, set_by_queue, thread_variables

DASKS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def test_all_that_the_user_has_not_set() -> None:
    assert thread_variables(3, {}) == dict.fromkeys(VARIABLES, "3")
    assert set(VARIABLES) - set(thread_variables(3, {"MKL_NUM_THREADS": "8"})) == {"MKL_NUM_THREADS"}


def test_where_the_user_has_set_openmps_its_followers_follow() -> None:
    # Each would go before it
    assert set(VARIABLES) - set(thread_variables(3, {"OMP_NUM_THREADS": "8"})) == {"OMP_NUM_THREADS", *FOLLOWERS}


def test_what_others_have_set_is_set_anew() -> None:
    assert thread_variables(3, DASKS, {"OMP_NUM_THREADS"})["OMP_NUM_THREADS"] == "3"


def test_pbs_gives_openmp_the_cores_of_the_whole_job() -> None:
    job = {"PBS_JOBID": "1", "NCPUS": "8"}
    assert set_by_queue(job | {"OMP_NUM_THREADS": "8"}) == {"OMP_NUM_THREADS"}
    assert set_by_queue(job | {"OMP_NUM_THREADS": "2"}) == set()
    assert set_by_queue({"OMP_NUM_THREADS": "8"}) == set()


def test_a_nannys_own_limits_are_not_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a nanny that was started without any
    monkeypatch.setattr(threads, "_environment_of", lambda _process: {"HOME": "/"})
    assert set_by_dask(DASKS, nanny=True) == set(DASKS)
    # another value is not Dask's
    assert set_by_dask(DASKS | {"OMP_NUM_THREADS": "4"}, nanny=True) == set(DASKS) - {"OMP_NUM_THREADS"}
    # Nor one that the user has configured, or was there before
    with dask.config.set({"distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 4}}):
        assert "OMP_NUM_THREADS" not in set_by_dask({"OMP_NUM_THREADS": "4"}, nanny=True)
    monkeypatch.setattr(threads, "_environment_of", lambda _process: {"OMP_NUM_THREADS": "1"})
    assert set_by_dask(DASKS, nanny=True) == set(DASKS) - {"OMP_NUM_THREADS"}
    # Nor any where there is no nanny
    assert set_by_dask(DASKS, nanny=False) == set()


def test_what_a_process_was_started_with(tmp_path: Path) -> None:
    import subprocess
    import sys

    process = subprocess.Popen(
        [sys.executable, "-c", "import os; os.environ['LATER'] = '1'; print(); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"BEFORE": "a=b"},
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        assert threads._environment_of(process.pid).get("BEFORE") == "a=b"
        assert "LATER" not in threads._environment_of(process.pid)
        process.communicate(b"\n")
    assert threads._environment_of(process.pid) == {}
