"""``daskbatch run job.yml``: a job of Azure's version 2, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

JOB = """
type: pipeline
jobs:
  measure_files:
    type: parallel
    compute: azureml:cpu-cluster
    inputs:
      texts: {path: ./texts}
      words: {type: uri_file, path: words.txt}
    outputs:
      lengths: {type: uri_file, path: ./out/lengths.csv}
    input_data: ${{inputs.texts}}
    mini_batch_size: "2"
    max_concurrency_per_instance: 1
    environment_variables: {UNIT: letters}
    task:
      code: src
      entry_script: measure.py
      program_arguments: --words ${{inputs.words}}
      append_row_to: ${{outputs.lengths}}
"""

SCRIPT = """
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--words")
args, _ = parser.parse_known_args()
word = open(args.words).read()

def run(mini_batch):
    return [{"file": os.path.basename(p), "length": len(open(p).read()), "unit": os.environ["UNIT"], "word": word}
            for p in mini_batch]
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The file of a job, and all that it names."""
    for name, content in {"src/measure.py": SCRIPT, "words.txt": "hello", "job.yml": JOB}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "texts").mkdir()
    for number in range(5):
        (tmp_path / "texts" / f"{number}.txt").write_text("x" * number)
    return tmp_path / "job.yml"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "daskbatch", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_job_says_it_all(job: Path) -> None:
    done = run(job)
    assert done.returncode == 0, done.stderr
    assert "compute 'cpu-cluster' is no compute target here" in done.stderr
    lines = (job.parent / "out" / "lengths.csv").read_text().splitlines()
    assert lines[0] == "file,length,unit,word"
    assert lines[1:] == [f"{number}.txt,{number},letters,hello" for number in range(5)]
    summary = json.loads((job.parent / "out" / "run_summary.json").read_text())
    assert summary["mini_batches"]["total"] == 3


def test_options_of_the_command_line_win(job: Path) -> None:
    other = job.parent / "other.txt"
    other.write_text("bye")
    folder = job.parent / "elsewhere"
    done = run(job, "--output", folder, "--mini-batch-size", 5, "--compute", "serial", "--", "--words", other)
    assert done.returncode == 0, done.stderr
    assert (folder / "lengths.csv").read_text().splitlines()[1] == "0.txt,0,letters,bye"
    assert json.loads((folder / "run_summary.json").read_text())["mini_batches"]["total"] == 1
    assert not (job.parent / "out").exists()


def test_a_job_without_a_folder(job: Path) -> None:
    job.write_text(JOB.replace(", path: ./out/lengths.csv", ""))
    done = run(job)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Missing option '--output'" in done.stderr
    job.write_text(JOB.replace("inputs.texts", "inputs.txets"))
    done = run(job)
    assert done.returncode == 2
    assert "input_data must be one of the job's inputs" in done.stderr
