"""The public API is typed: mypy reads a user's program in strict mode."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TYPING = Path(__file__).parent / "typing"


def mypy(path: Path) -> subprocess.CompletedProcess[str]:
    root = TYPING.parents[1]
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(path)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_public_api_is_typed() -> None:
    done = mypy(TYPING / "public_api.py")
    assert done.returncode == 0, done.stdout


def test_wrong_use_is_seen(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import daskbatch\ndaskbatch.run('score.py', 'data', output=1)\n")
    assert "[arg-type]" in mypy(wrong).stdout
