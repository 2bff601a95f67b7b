"""A local run opens no door, and touches no process but its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import daskbatch

# Looks, from within run(), at every process from the program that was started down to this one.
LOOK = """
    import json
    import sys

    import psutil

    def run(mini_batch):
        top = psutil.Process(int(sys.argv[1]))
        tree = [top, *top.children(recursive=True)]
        sockets = [[process.pid, str(each.laddr)] for process in tree for each in process.net_connections("inet")]
        return [json.dumps([sockets, len(tree)]) for _ in mini_batch]
"""

PROGRAM = """
    import os
    import sys

    import daskbatch

    run = daskbatch.run(
        sys.argv[1], sys.argv[2], output=sys.argv[3], mini_batch_size=1, process_count_per_node=2, progress=False,
        append_row_file_name="out.jsonl", arguments=[os.getpid()],
    )
"""


def test_no_process_of_a_local_run_has_a_socket(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a program of its own, so that only what a run opens is open
    program = script(PROGRAM, "program.py")
    # When it runs
    command = [sys.executable, program, script(LOOK), files(4), str(tmp_path / "out")]
    subprocess.run(command, check=True, timeout=60)
    # Then neither it nor anything below it listens, or is connected to anything
    seen = [
        json.loads(json.loads(line)["result"]) for line in (tmp_path / "out" / "out.jsonl").read_text().splitlines()
    ]
    assert [sockets for sockets, _ in seen] == [[]] * 4
    # (program, and for each slot a supervisor and a runner)
    assert all(tree >= 3 for _, tree in seen)


FAULTS = """
    import os
    import subprocess
    import sys
    import time

    def run(mini_batch, context):
        number = int(os.path.basename(mini_batch[0])[1:3])
        if context.retry_count == 0 and number in (1, 2, 3):
            subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(3600)"])
            if number == 1:
                time.sleep(3600)
            if number == 2:
                os._exit(1)
            os.kill(os.getpid(), 11)
        return [os.getpid()]
"""


@pytest.mark.parametrize("detached", [False, True], ids=["child", "detached child"])
def test_the_users_own_processes_are_left_alone(
    detached: bool, tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a process that the user's program, such as a notebook, started beforehand
    before = set(psutil.Process().children())
    mine = subprocess.Popen(["sleep", "3600"], start_new_session=detached)
    try:
        # When runners time out, die and are killed, with children of their own
        run = daskbatch.run(
            script(FAULTS), files(6), output=tmp_path / "out", mini_batch_size=1, process_count_per_node=2,
            run_invocation_timeout=0.5, progress=False,
        )  # fmt: skip
        # Then theirs are gone, and the user's is as it was
        assert run.summary["tries"] == 9
        assert run.summary["items"]["failed"] == 0
        assert mine.poll() is None
        assert psutil.Process(mine.pid).ppid() == os.getpid()
        assert set(psutil.Process().children()) - before == {psutil.Process(mine.pid)}
    finally:
        mine.kill()
        mine.wait()


def test_an_orphan_of_the_users_is_not_adopted(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a process whose parent ends while a run goes on
    text = """
        import os
        import subprocess
        import sys
        import time

        go, pid_file = sys.argv[1:]
        child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        with open(pid_file + ".new", "w") as file:
            file.write(str(child.pid))
        os.rename(pid_file + ".new", pid_file)
        while not os.path.exists(go):
            time.sleep(0.01)
    """
    parent = subprocess.Popen([sys.executable, script(text, "parent.py"), str(tmp_path / "go"), str(tmp_path / "pid")])
    entry = script("""
        import os
        import sys
        import time

        def run(mini_batch):
            while not os.path.exists(sys.argv[2]):
                time.sleep(0.01)
            open(sys.argv[1], "w").close()
            time.sleep(0.3)
            return mini_batch
        """)
    try:
        daskbatch.run(
            entry, files(2), output=tmp_path / "out", mini_batch_size=1, process_count_per_node=1, progress=False,
            arguments=[tmp_path / "go", tmp_path / "pid"],
        )  # fmt: skip
        parent.wait(10)
        orphan = psutil.Process(int((tmp_path / "pid").read_text()))
        # Then it lives on, and is nobody's here
        assert orphan.is_running()
        assert orphan.ppid() != os.getpid()
    finally:
        parent.kill()
        parent.wait()
        os.kill(int((tmp_path / "pid").read_text()), 9)
