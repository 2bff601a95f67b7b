"""What the memory benchmark counts of a process tree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

PROGRAM = """
import os, subprocess, sys
import psutil
from process_memory import Peaks

held, hold = os.pipe()
copy = os.fork()
if not copy:
    os.close(hold)
    os.read(held, 1)  # as between a fork and its exec
    os._exit(0)
waits = [sys.executable, "-c", "print(flush=True); input()"]
own = subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
own.stdout.readline()
peaks = Peaks()
peaks.look(psutil.Process())
print(sorted(peaks.marks) == sorted([os.getpid(), own.pid]), peaks.summed == peaks.client + peaks.child)
os.close(hold)
own.communicate(b"\\n")
os.waitpid(copy, 0)
"""


def test_a_fork_that_is_no_program_of_its_own_yet_is_its_parents_memory() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{BENCHMARKS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["True", "True"]
