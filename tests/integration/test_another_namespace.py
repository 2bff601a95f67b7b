"""Runners that cannot see the worker they belong to, as behind a command that opens another process namespace."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import daskbatch

AT_ONCE = 30.0
"""Seconds within which a run ends that waits for nothing; loaded machines are slow to start processes."""

# Takes as many seconds for init() and for each run() as it is told to.
ENTRY = """
    import sys
    import time

    def init():
        time.sleep(int(sys.argv[1]))

    def run(mini_batch):
        time.sleep(int(sys.argv[2]))
        return mini_batch
"""
# There the worker's number is nobody's; no system has as many processes as this one's number.
NAMESPACE = """#!{python}
import json, os, sys

command = sys.argv[1:]
if command[-1].startswith("{{"):
    command[-1] = json.dumps({{**json.loads(command[-1]), "parent": 2**22 + 1}})
os.execvp(command[0], command)
"""
PARENT = '#!/bin/sh\n{python} "$@"\nexit $?\n'


def program(path: Path, text: str) -> str:
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def test_a_command_that_opens_another_namespace(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a command in front of the interpreter behind which the worker is not to be seen
    command = program(tmp_path / "wrapper", NAMESPACE)
    # When a run begins, then it fails at once, and says what the command must do
    began = time.monotonic()
    with pytest.raises(daskbatch.InitFailed, match=r"same process namespace.*--pid.*--containall") as caught:
        daskbatch.run(
            script(ENTRY), files(4), output=tmp_path / "out", arguments=[1, 0],
            mini_batch_size=1, process_count_per_node=1, command_prefix=command, progress=False,
        )  # fmt: skip
    assert command in str(caught.value)
    assert time.monotonic() - began < AT_ONCE


def test_a_script_in_the_interpreters_place_that_stays(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a script that starts the interpreter, and stays its parent, in the interpreter's place
    python = program(tmp_path / "python", PARENT)
    # When a run begins, then it fails at once, and says how that is mended
    # (an init() as short as this one may be over before that is seen: then it is the worker that has failed)
    began = time.monotonic()
    with pytest.raises(daskbatch.RunFailed, match="let it exec the interpreter") as caught:
        daskbatch.run(
            script(ENTRY), files(4), output=tmp_path / "out", arguments=[0, 1],
            mini_batch_size=1, process_count_per_node=1, python=python, progress=False,
        )  # fmt: skip
    assert python in str(caught.value)
    assert time.monotonic() - began < AT_ONCE
