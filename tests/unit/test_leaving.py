"""A process that leaves soon loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import atexit, threading

file = open("left_open.txt", "w")

class Holder:
    def __init__(self):
        self.me, self.file = self, open("in_a_cycle.txt", "w")
        self.file.write("cycle")

holder = Holder()
file.write("open")

def at_exit():
    with open("at_exit.txt", "w") as late:
        late.write(holder.file.name)

def thread():
    threading.main_thread().join()
    with open("thread.txt", "w") as late:
        late.write("thread")

atexit.register(at_exit)
threading.Thread(target=thread).start()
"""


LOGS = """
import json, logging

class Late(logging.Handler):
    lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())

    def flush(self):
        with open("log.json", "w") as file:
            json.dump(self.lines, file)

logging.getLogger("users").addHandler(Late())
logging.getLogger("users").warning("said at last")
"""


def test_log_handlers_are_flushed_while_their_modules_are_there(tmp_path: Path) -> None:
    # Given a handler of the user's that writes at the end, in a process that had logging before
    (tmp_path / "users.py").write_text(LOGS)
    program = "import logging; from daskbatch.leaving import leave_soon; leave_soon(); __import__('users')"
    # When the process ends, then what was logged is there
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert (tmp_path / "log.json").read_text() == '["said at last"]'


HELD = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: None)
sys.users_function = lambda: None
"""


@pytest.mark.parametrize("imported", ["", "import numpy, pandas, pyarrow", HELD], ids=["bare", "libraries", "held"])
def test_what_the_users_modules_hold_is_freed(tmp_path: Path, imported: str) -> None:
    # Given a module of the user's with files that it never closes, a thread, and something to do at the end
    (tmp_path / "users.py").write_text(imported + SCRIPT)
    program = "from daskbatch.leaving import leave_soon; leave_soon(); __import__('users'); print('printed', end='')"
    # When its process ends
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    # Then all is there, and nothing is complained of
    assert (done.stdout, done.stderr) == ("printed", "")
    found = {path.name: path.read_text() for path in tmp_path.glob("*.txt")}
    assert found == {
        "at_exit.txt": "in_a_cycle.txt",
        "in_a_cycle.txt": "cycle",
        "left_open.txt": "open",
        "thread.txt": "thread",
    }


def test_a_daemon_finds_what_it_uses_to_the_end(tmp_path: Path) -> None:
    daemon = (
        "import threading, time\n"
        "def use():\n"
        "    while True: time.sleep(0)\n"
        "threading.Thread(target=use, daemon=True).start()\n"
    )
    (tmp_path / "users.py").write_text(daemon)
    program = "from daskbatch.leaving import leave_soon; leave_soon(); __import__('users')"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_our_own_program_keeps_its_names(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import atexit, multiprocessing, time\n"
        "atexit.register(lambda: print('last', time.time() > 0))\n"
        "from daskbatch.leaving import leave_soon\n"
        "leave_soon()\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("last True\n", "")


def test_a_module_that_is_imported_when_it_is_used_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "lazy.py").write_text(
        "import sys, types\n"
        "class Lazy(types.ModuleType):\n"
        "    def __getattr__(self, name): print('imported', name)\n"
        "sys.modules['later'] = Lazy('later')\n"
    )
    program = "from daskbatch.leaving import leave_soon; leave_soon(); __import__('lazy')"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_libraries_are_not_looked_through(tmp_path: Path) -> None:
    # Given a library in whose last moments it says something, in a cycle
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "library.py").write_text("class C:\n    def __del__(self): print('looked')\nc = C()\nc.me = c\n")
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); import library"
    leaving = "from daskbatch.leaving import leave_soon; leave_soon(); "
    said = [subprocess.run([sys.executable, "-c", p], capture_output=True, text=True, check=True).stdout
            for p in (program, leaving + program)]  # fmt: skip
    # Then it does so only where Python goes through all
    assert said == ["looked\n", ""]
