"""A pipeline of two steps that halts where the test wants it to: what RunDetails is looked at with."""

from __future__ import annotations

__all__ = ["CELLS", "SCRIPT"]

SCRIPT = """
import argparse
import os
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--gate")
args, _ = parser.parse_known_args()
print("model loaded: 1,024 parameters", file=sys.stderr)


def decode(path):
    if "bad" in path:
        raise ValueError("no <image> in here: 0 bytes")
    return os.path.basename(path)


def run(mini_batch):
    time.sleep(0.01)
    if any("hold" in path for path in mini_batch):
        while not os.path.exists(args.gate):
            time.sleep(0.01)
    return [decode(path) for path in mini_batch]
"""
"""Fails at files with ``bad`` in their names, and waits for the file ``--gate`` at those with ``hold``."""

CELLS = (
    """
from pathlib import Path
from daskbatch import (Dataset, Environment, Experiment, ParallelRunConfig, ParallelRunStep, Pipeline, PipelineData,
                       RunDetails, Workspace)
Path("score.py").write_text({script!r})
Path("images").mkdir()
for number in range(60):
    kind = "bad" if number == 7 else "hold" if number >= 40 else "scan"
    Path(f"images/{number:04d}-{kind}.png").write_bytes(b"x")
ws = Workspace.create("demo", "ws")
def step(name, source, target):
    config = ParallelRunConfig(environment=Environment("own"), entry_script="score.py", mini_batch_size="1",
                               error_threshold=5, output_action="append_row", node_count=1, process_count_per_node=1,
                               compute_target="local", source_directory=".", run_max_try=1)
    return ParallelRunStep(name=name, parallel_run_config=config, inputs=[source], output=target, allow_reuse=False,
                           arguments=["--gate", str(Path("gate").absolute())])
files = Dataset.File.from_files("images")
scores, report = PipelineData("scores"), PipelineData("report")
""",
    """
run = Experiment(ws, "digits").submit(Pipeline(ws, [
    step("score-images", files.as_named_input("images"), scores), step("second-look", scores, report)]))
details = RunDetails(run)
details.show()
""",
)
"""Cells: the pipeline, its submission."""
