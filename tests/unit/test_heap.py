"""What a runner keeps of the memory that it has freed."""

from __future__ import annotations

import subprocess
import sys

import distributed  # noqa: F401  # brings the defaults of its nanny
import pytest

from daskbatch.worker import threads
from daskbatch.worker.heap import VARIABLES, heap_variables
from daskbatch.worker.node_share import shares_of


def test_who_has_said_anything_about_it_is_left_alone() -> None:
    assert heap_variables({"HOME": "/"}) == VARIABLES
    assert heap_variables({"MALLOC_TRIM_THRESHOLD_": "65536"}) == {}
    assert heap_variables({"MALLOC_ARENA_MAX": "2"}) == {}
    assert heap_variables({"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1"}) == {}
    assert heap_variables({"GLIBC_TUNABLES": "glibc.rtld.nns=4"}) == VARIABLES


def test_what_dasks_nanny_has_set_is_nobodys_word(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a worker whose nanny has told it to give memory back
    monkeypatch.setattr(threads, "_environment_of", lambda _process: {"HOME": "/"})
    told = {"MALLOC_TRIM_THRESHOLD_": "65536"}
    # Then its runners keep it all the same
    assert shares_of([0], 1, {}, True, told)[0].variables.items() >= VARIABLES.items()
    # But not if the user has said so, before or for the run
    assert not shares_of([0], 1, told, True, told)[0].variables.keys() & VARIABLES.keys()
    assert not shares_of([0], 1, {}, False, told)[0].variables.keys() & VARIABLES.keys()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_pages_are_not_made_anew() -> None:
    # Given a program that has an array of 1 MB for a moment, again and again, as a mini-batch is read
    program = (
        "import resource\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def work():\n"
        "    a = bytearray(10**6); b = bytearray(10**6); c = bytearray(2 * 10**6)\n"
        "    a[:] = b'x' * 10**6; b[:] = a; c[:10**6] = b\n"
        "[work() for _ in range(3)]\n"
        "before = faults()\n"
        "[work() for _ in range(20)]\n"
        "print(faults() - before)\n"
    )
    counts = [
        int(subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout)
        for env in ({"PYTHONMALLOC": "malloc"}, {"PYTHONMALLOC": "malloc", **VARIABLES})
    ]
    if counts[0] < 1000:
        pytest.skip("this system's malloc keeps it by itself")
    assert counts[1] < counts[0] / 10
