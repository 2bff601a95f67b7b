"""The leak checks of conftest.py can fail: each is shown a leak."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"

LEAKS = {
    "process": ("processes left", "subprocess.Popen(['sleep', '60'])"),
    "zombie": ("processes left", "subprocess.Popen(['true'])"),
    "orphan": ("processes left", "subprocess.run(['sh', '-c', 'setsid sleep 60 & exit 0'])"),
    "socket": ("sockets left", "keep.append(socket.create_server(('127.0.0.1', 0)))"),
    "thread": ("threads left", "threading.Thread(target=time.sleep, args=(2,)).start()"),
    "pipe": ("files left", "keep.extend(os.pipe())"),
    "file": ("files left", "keep.append(open('left.txt', 'w'))"),
    "nothing": ("", "subprocess.run(['true'])"),
}

PROGRAM = "import os, socket, subprocess, threading, time\nkeep = []\n" + "".join(
    f"def test_{name}():\n    keep.append({leak})\n" for name, (_, leak) in LEAKS.items()
)


def test_each_kind_of_leak_is_seen(tmp_path: Path) -> None:
    (tmp_path / "runner").mkdir()
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text().replace("GRACE = 5.0", "GRACE = 0.3"))
    (tmp_path / "runner" / "test_leak.py").write_text(PROGRAM)
    output = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--tb=no", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout
    summary = [line for line in output.splitlines() if line.startswith("ERROR ")]
    for name, (expected, _) in LEAKS.items():
        line = next((line for line in summary if line.split()[1].endswith(f"::test_{name}")), "")
        assert (expected in line) if expected else not line, output
