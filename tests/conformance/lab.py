"""A workspace in which the rows of the table are tried: files, tables, and one script that does what it is told."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from daskbatch import (
    Dataset,
    Environment,
    Experiment,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    PipelineRun,
    StepRun,
    Workspace,
)

PATIENCE = 150  # seconds for a run of many steps on a busy machine

PROBE = """
import argparse
import json
import os
import sys
import time

import pandas as pd

from azureml_user.parallel_run import EntryScript

parser = argparse.ArgumentParser()
parser.add_argument("--bad", default="", help="files that raise")
parser.add_argument("--drop", default="", help="files without a result")
parser.add_argument("--slow", default="", help="files that never end")
parser.add_argument("--recovers-at", type=int, default=0, help="tries that raise before one succeeds")
parser.add_argument("--meet", type=int, default=0, help="processes that wait for each other")
parser.add_argument("--side", default="")
parser.add_argument("--out", default="")
parser.add_argument("--word", default="")
args, _ = parser.parse_known_args()


def meet():
    folder = EntryScript().output_dir
    open(os.path.join(folder, f"pid-{os.getpid()}"), "w").close()
    end = time.monotonic() + 60
    while sum(name.startswith("pid-") for name in os.listdir(folder)) < args.meet:
        assert time.monotonic() < end, "the others never came"
        time.sleep(0.01)


def run(mini_batch, context):
    logger = EntryScript().logger
    logger.debug("told at DEBUG")
    logger.info("told at INFO")
    logger.warning("told at WARNING")
    if args.meet:
        meet()
    if context.retry_count < args.recovers_at:
        raise ValueError("not yet")
    if args.out:
        with open(os.path.join(args.out, "own.txt"), "w") as own:
            own.write("by the script")
    if isinstance(mini_batch, pd.DataFrame):
        return [
            json.dumps({"rows": len(mini_batch), "key": context.partition_key_value, "dataset": context.dataset})
        ] * len(mini_batch)
    names = [os.path.basename(path) for path in mini_batch]
    if set(names) & set(args.bad.split()):
        raise ValueError("bad weather")
    while set(names) & set(args.slow.split()):
        time.sleep(1)
    told = {
        "size": len(names),
        "tries": context.retry_count + 1,
        "key": context.partition_key_value,
        "dataset": context.dataset,
        "word": args.word or os.environ.get("WORD"),
        "side": open(args.side).read() if args.side else None,
        "script": os.path.basename(__file__),
    }
    return [json.dumps({"name": name, **told}) for name in names if name not in args.drop.split()]
"""


class Lab:
    """A workspace with twelve files, two tables and the probe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ws = Workspace.create("lab", folder)
        self.script = self.write("src/probe.py", PROBE)
        for number in range(12):
            self.write(f"files/f{number:02}", "x" * number)
        for name in ("a", "b"):
            self.write(f"tables/{name}.csv", "store,amount\n" + "".join(f"{n % 3},{n:06}\n" for n in range(300)))
        self.files = Dataset.File.from_files(str(folder / "files"))
        self.tables = Dataset.Tabular.from_delimited_files(str(folder / "tables"))

    def write(self, name: str, text: str) -> Path:
        """A file below the workspace's folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def config(self, **options: Any) -> ParallelRunConfig:
        """The required options, and these."""
        given: dict[str, Any] = {
            "environment": Environment("lab"),
            "entry_script": str(self.script),
            "error_threshold": 0,
            "output_action": "append_row",
            "compute_target": "local",
            "node_count": 1,
        }
        return ParallelRunConfig(**(given | options))

    def step(self, name: str, config: ParallelRunConfig | None = None, inputs: Any = None, **more: Any) -> Any:
        """A step that has an output of its name."""
        given = {"output": PipelineData(name.replace("-", "_")), **more}
        return ParallelRunStep(name, config or self.config(), inputs=inputs or [self.files], **given)

    def submit(self, *steps: ParallelRunStep, parameters: Any = None) -> PipelineRun:
        """Run steps, and wait; some may be meant to fail."""
        pipeline = Pipeline(self.ws, list(steps))
        run = Experiment(self.ws, "lab").submit(pipeline, pipeline_parameters=parameters, continue_on_step_failure=True)
        run.wait_for_completion(timeout_seconds=PATIENCE, raise_on_error=False)
        return run


def step_of(run: PipelineRun, name: str) -> StepRun:
    """A step's run."""
    return run.find_step_run(name)[0]


def output_of(run: PipelineRun, name: str) -> Path:
    """The folder of a step's output in the datastore."""
    port = step_of(run, name).get_output_data(name.replace("-", "_"))
    return Path(port.datastore.local_path(port.path_on_datastore))


def told(run: PipelineRun, name: str, file: str = "parallel_run_step.txt") -> list[dict[str, Any]]:
    """What the probe told, item by item."""
    return [json.loads(line) for line in (output_of(run, name) / file).read_text().splitlines()]


def error_of(run: PipelineRun, name: str) -> str:
    """Why a step failed."""
    error = step_of(run, name).get_details()["error"]
    return "" if error is None else str(error["message"])
