"""README's example runs as it is written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_first_example(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(12):
        (tmp_path / "photos" / f"{number:02}.png").write_bytes(b"x" * number)
    (tmp_path / "score.py").write_text(
        next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "def run" in b)
    )

    commands = re.findall(r"^daskbatch (try|run) (.*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert [name for name, _ in commands] == ["try", "run"]
    for name, rest in commands:
        line = f"{sys.executable} -m daskbatch {name} {rest}"
        subprocess.run(line, shell=True, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)

    frame = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert list(frame.columns) == ["file", "score"]
    assert len(frame) == 12
    for name in ("run_summary.json", "logs"):
        assert (tmp_path / "out" / name).exists()
    assert not (tmp_path / "out" / "failed_items.jsonl").exists()
