"""Pipelines submitted in a workspace: a coordinator of their own does the work, and the run's folder tells all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import dask.dataframe
import pandas as pd
import psutil
import pytest
from lives import PATIENCE, wait_for

import daskbatch
from daskbatch import (
    Dataset,
    Datastore,
    Environment,
    Experiment,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    PipelineParameter,
    PipelineRun,
    TabularDataset,
    Workspace,
)
from daskbatch.engine.heartbeat import read_heartbeat

SCRIPT = """
import argparse
import os
import time

parser = argparse.ArgumentParser()
parser.add_argument("--calls")
parser.add_argument("--gate")
parser.add_argument("--bad")
parser.add_argument("--add", default="")
parser.add_argument("--side")
parser.add_argument("--out")
args, _ = parser.parse_known_args()


def run(mini_batch):
    with open(args.calls, "a") as calls:
        calls.write(f"{len(mini_batch)}\\n")
    while args.gate and not os.path.exists(args.gate):
        time.sleep(0.01)
    if args.bad and os.path.exists(args.bad):
        raise ValueError("bad weather")
    if args.out:
        with open(os.path.join(args.out, "notes.txt"), "w") as notes:
            notes.write(os.environ.get("WORD", ""))
    if not isinstance(mini_batch, list):
        return mini_batch.assign(twice=mini_batch["result"] + mini_batch["result"])
    more = args.add + (open(args.side).read() if args.side else "")
    return [os.path.basename(path) + more for path in mini_batch]
"""


class House:
    """A workspace with five files, a script and pipelines over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "score.py"
        self.script.write_text(SCRIPT)
        data = folder / "in"
        data.mkdir()
        for number in range(5):
            (data / f"f{number}").write_bytes(b"x")
        self.ws = Workspace.create("house", folder / "ws")
        self.experiment = Experiment(self.ws, "exp")
        self.data = Dataset.File.from_files(str(data))

    def config(self, **options: Any) -> ParallelRunConfig:
        given: dict[str, Any] = {
            "environment": Environment("env"),
            "entry_script": str(self.script),
            "error_threshold": 0,
            "output_action": "append_row",
            "append_row_file_name": "scores.csv",
            "compute_target": "local",
            "node_count": 1,
            "run_max_try": 1,
        }
        return ParallelRunConfig(**(given | options))

    def step(
        self, name: str = "score", inputs: Any = None, arguments: Any = (), output: Any = None, **given: Any
    ) -> ParallelRunStep:
        side = {"side_inputs": given.pop("side_inputs", None), "allow_reuse": given.pop("allow_reuse", True)}
        calls = ["--calls", str(self.folder / f"calls-{name}")]
        output = output or PipelineData(name.replace("-", "_"))
        return ParallelRunStep(
            name, self.config(**given), inputs=inputs or [self.data], output=output, arguments=[*calls, *arguments],
            **side,
        )  # fmt: skip

    def two(self, gate: Path | None = None, **first: Any) -> Pipeline:
        """A step, and one that reads its output; the second waits for the gate."""
        scores = PipelineData("one")
        one = self.step("one", output=scores, **first)
        more = [] if gate is None else ["--gate", str(gate)]
        return Pipeline(self.ws, [self.step("two", [scores.read_delimited_files()], more), one])

    def calls(self, name: str = "score") -> list[int]:
        """Sizes of the mini-batches that were run."""
        path = self.folder / f"calls-{name}"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def result(self, run: PipelineRun, name: str = "score") -> str:
        """The result of a step as it lies in the datastore."""
        port = run.find_step_run(name)[0].get_output_data(name.replace("-", "_"))
        return Path(port.datastore.local_path(port.path_on_datastore), "scores.csv").read_text()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def coordinator_of(run: PipelineRun) -> psutil.Process:
    """The process that works on a run."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        number = 1
        while (run.folder / f"coordinator-{number + 1}.json").exists():
            number += 1
        beat = read_heartbeat(run.folder / f"coordinator-{number}.json")
        if beat is not None and beat["beat"] and not found:
            found.append(psutil.Process(beat["pid"]))
        return bool(found)

    wait_for(is_there, "the coordinator")
    return found[0]


NAMES = "result\nf0\nf1\nf2\nf3\nf4\n"


def test_a_step_is_run_by_another_process_and_its_output_is_found(house: House, tmp_path: Path) -> None:
    run = house.experiment.submit(Pipeline(house.ws, [house.step(mini_batch_size=2)]), tags={"color": "red"})
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    assert house.calls() == [2, 2, 1]
    (step,) = run.find_step_run("score")
    port = step.get_output_data("score")
    assert port.path_on_datastore == f"azureml/{step.id}/score"
    assert port.download(tmp_path / "copy", show_progress=False) == 1
    assert (tmp_path / "copy" / port.path_on_datastore / "scores.csv").read_text() == NAMES
    counts = {"mini_batches_total": 3, "mini_batches_succeeded": 3, "mini_batches_failed": 0, "tries": 3, "seconds": 0}
    items = {"items_total": 5, "items_succeeded": 5, "items_failed": 0}
    assert step.get_metrics() | {"seconds": 0} == counts | items
    # All of it is found again by the workspace alone
    (again,) = Workspace.from_config(house.ws.root).experiments["exp"].get_runs(tags="color")
    assert (again.id, again.get_status(), again.tags) == (run.id, "Completed", {"color": "red"})
    assert list(house.experiment.get_runs(tags={"color": "blue"})) == []
    assert [Path(path).name for path in again.get_all_logs(tmp_path / "logs")].count("coordinator.log") == 1
    assert PipelineRun.get(house.ws, run.id).get_details()["steps"][0]["status"] == "Completed"


def test_a_step_reads_what_the_one_before_has_written(house: House) -> None:
    run = house.experiment.submit(house.two())
    run.wait_for_completion(timeout_seconds=PATIENCE)
    assert house.result(run, "two") == "result,twice\n" + "".join(f"f{n},f{n}f{n}\n" for n in range(5))
    assert [step.name for step in run.get_steps()] == ["one", "two"]


def test_arguments_become_texts_and_paths(house: House, tmp_path: Path) -> None:
    side = tmp_path / "side.txt"
    side.write_text("!")
    labels = Dataset.File.from_files(str(side)).as_named_input("labels").as_mount()
    out = PipelineData("score")
    arguments = ["--side", labels, "--add", PipelineParameter("add", "+a"), "--out", out]
    step = house.step(
        arguments=arguments, side_inputs=[labels], output=out, environment_variables={"WORD": "not-to-be-stored"}
    )
    pipeline = Pipeline(house.ws, [step])
    run = house.experiment.submit(pipeline)
    run.wait_for_completion(timeout_seconds=PATIENCE)
    assert house.result(run) == NAMES.replace("\n", "+a!\n").replace("result+a!", "result")
    port = run.find_step_run("score")[0].get_output_data("score")
    notes = Path(port.datastore.local_path(port.path_on_datastore), "notes.txt")
    assert notes.read_text() == "not-to-be-stored"
    notes.unlink()
    for path in house.ws.root.rglob("*"):
        assert not path.is_file() or b"not-to-be-stored" not in path.read_bytes(), path


def test_a_submission_with_other_parameters(house: House) -> None:
    pipeline = Pipeline(house.ws, [house.step(mini_batch_size=PipelineParameter("size", 5))])
    house.experiment.submit(pipeline).wait_for_completion(timeout_seconds=PATIENCE)
    run = house.experiment.submit(pipeline, pipeline_parameters={"size": 1})
    run.wait_for_completion(timeout_seconds=PATIENCE)
    assert house.calls() == [5, 1, 1, 1, 1, 1]
    assert house.result(run) == NAMES
    assert run.parameters == {"size": 1}


def test_what_has_been_done_is_not_done_again(house: House) -> None:
    pipeline = house.two()
    first = house.experiment.submit(pipeline)
    first.wait_for_completion(timeout_seconds=PATIENCE)
    second = house.experiment.submit(pipeline)
    second.wait_for_completion(timeout_seconds=PATIENCE)
    assert (house.calls("one"), house.calls("two")) == ([5], [5])
    assert [step.is_reused for step in second.get_steps()] == [True, True]
    assert house.result(second, "two") == house.result(first, "two")
    anew = house.experiment.submit(pipeline, regenerate_outputs=True)
    anew.wait_for_completion(timeout_seconds=PATIENCE)
    assert (house.calls("one"), house.calls("two")) == ([5, 5], [5, 5])
    # Another script is another step, and so is what reads its output
    house.script.write_text(SCRIPT.replace("os.path.basename(path) +", "'g' + os.path.basename(path) +"))
    changed = house.experiment.submit(house.two())
    changed.wait_for_completion(timeout_seconds=PATIENCE)
    assert house.result(changed, "one") == NAMES.replace("\nf", "\ngf")
    assert len(house.calls("two")) == 3


def test_what_was_done_into_a_datastore_that_is_gone_is_done_again(house: House) -> None:
    # Given a run whose result went where outputs went then
    stores = [Datastore.register(house.ws, name, house.folder / name) for name in ("then", "now")]
    house.ws.set_default_datastore("then")
    pipeline = Pipeline(house.ws, [house.step()])
    house.experiment.submit(pipeline).wait_for_completion(timeout_seconds=PATIENCE)
    # When that is unregistered, and the same is submitted again
    house.ws.set_default_datastore("now")
    stores[0].unregister()
    run = house.experiment.submit(pipeline)
    # Then it is done again, into where they go now
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    assert house.calls() == [5, 5]
    assert list((house.folder / "now").rglob("scores.csv"))


def test_an_output_among_the_arguments_and_a_result_that_is_gone(house: House) -> None:
    out = PipelineData("score")
    pipeline = Pipeline(house.ws, [house.step(arguments=["--out", out], output=out)])
    for expected in ([5], [5]):  # the output's folder is another in each run, which makes no other step of it
        run = house.experiment.submit(pipeline)
        run.wait_for_completion(timeout_seconds=PATIENCE)
        assert house.calls() == expected
    port = run.find_step_run("score")[0].get_output_data("score")
    Path(port.datastore.local_path(port.path_on_datastore), "scores.csv").unlink()
    run = house.experiment.submit(pipeline)
    run.wait_for_completion(timeout_seconds=PATIENCE)
    assert house.calls() == [5, 5]
    assert house.result(run) == NAMES


def test_a_step_that_fails_ends_the_run(house: House, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.touch()
    run = house.experiment.submit(house.two(arguments=["--bad", str(bad)]))
    with pytest.raises(daskbatch.RunFailed, match="bad weather"):
        run.wait_for_completion(timeout_seconds=PATIENCE)
    assert {step.name: step.get_status() for step in run.get_steps()} == {"one": "Failed", "two": "NotStarted"}
    details = run.get_details()
    assert details["status"] == "Failed"
    assert details["error"]["message"].startswith("The step 'one' failed: ")
    log = (run.folder / "coordinator.log").read_text()
    assert "The step two was not begun: it needs one, which did not complete." in log
    assert "bad weather" in details["steps"][0]["error"]["message"]
    assert house.calls("two") == []
    # Mended, it goes on
    bad.unlink()
    run.resume()
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    assert house.calls("one") == [5, 5]


def test_a_step_that_does_not_need_the_failed_one(house: House, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.touch()
    after = house.step("after")
    after.run_after(other := house.step("other"))
    pipeline = Pipeline(house.ws, [house.step("fails", arguments=["--bad", str(bad)]), other, after])
    run = house.experiment.submit(pipeline, continue_on_step_failure=True)
    assert run.wait_for_completion(timeout_seconds=PATIENCE, raise_on_error=False) == "Failed"
    assert Counter(step.get_status() for step in run.get_steps()) == {"Completed": 2, "Failed": 1}


def test_cancel(house: House, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = house.experiment.submit(house.two(gate))
    wait_for(lambda: house.calls("two"), "the second step's call")
    run.cancel()
    with pytest.raises(daskbatch.RunCanceled):
        run.wait_for_completion(timeout_seconds=PATIENCE)
    assert [step.get_status() for step in run.get_steps()] == ["Completed", "Canceled"]
    with pytest.raises(daskbatch.UsageError, match="nothing to cancel"):
        run.cancel()


def test_the_run_outlives_who_has_submitted_it(house: House, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    file = tmp_path / "pipeline.yml"
    house.two(gate).save(file)
    program = (
        "import time; from daskbatch import *; ws = Workspace.from_config();"
        f" print(Experiment(ws, 'exp').submit(Pipeline.load({str(file)!r}, ws)).id, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=house.ws.root, stdout=subprocess.PIPE, text=True
    ) as kernel:
        assert kernel.stdout is not None
        run_id = kernel.stdout.readline().strip()
        wait_for(lambda: house.calls("two"), "the second step's call")
        kernel.kill()
    run = PipelineRun.get(house.ws, run_id)
    assert run.get_status() == "Running"
    gate.touch()
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    assert house.calls("one") == [5]


def test_ctrl_c_ends_the_waiting_of_the_command_alone(house: House, tmp_path: Path) -> None:
    gate, file = tmp_path / "gate", tmp_path / "pipeline.yml"
    house.two(gate).save(file)
    # As in a terminal: what a shell starts by & ignores Ctrl-C
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from daskbatch.cli import main"
    with subprocess.Popen(
        [sys.executable, "-c", f"{program}; main()", "submit", str(file), "--wait"], cwd=house.ws.root,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        wait_for(lambda: house.calls("two"), "the second step's call")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "The waiting has ended, and the run goes on: daskbatch runs -e pipeline" in err
    gate.touch()
    run = PipelineRun.get(house.ws, out.splitlines()[0])
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"


def test_a_run_whose_coordinator_is_killed_is_resumed(house: House, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = house.experiment.submit(house.two(gate, environment_variables={"WORD": "w"}))
    wait_for(lambda: house.calls("two"), "the second step's call")
    coordinator = coordinator_of(run)
    assert os.getsid(coordinator.pid) == coordinator.pid
    os.kill(coordinator.pid, signal.SIGKILL)
    wait_for(lambda: run.get_status() == "Failed", "the end of the coordinator")
    details = run.get_details()
    assert details["lost"]
    assert "resume()" in details["error"]["message"]
    assert [step.get_status() for step in run.get_steps()] == ["Completed", "Failed"]
    gate.touch()
    with pytest.raises(daskbatch.UsageError, match="WORD"):
        run.resume()
    run.resume(environment_variables={"WORD": "w"})
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    assert house.calls("one") == [5]
    summary = json.loads((run.find_step_run("two")[0].folder / "run_summary.json").read_text())
    assert summary["epoch"] == 2
    with pytest.raises(daskbatch.UsageError, match="nothing to go on with"):
        run.resume(environment_variables={"WORD": "w"})


def test_a_submission_that_is_wrong_leaves_nothing(house: House) -> None:
    with pytest.raises(daskbatch.UsageError, match=r"no parameter 'siez'.*'size'"):
        house.experiment.submit(
            Pipeline(house.ws, [house.step(mini_batch_size=PipelineParameter("size", 5))]),
            pipeline_parameters={"siez": 1},
        )
    pipeline = Pipeline(house.ws, [house.step()])
    for path in (house.folder / "in").iterdir():
        path.unlink()
    with pytest.raises(daskbatch.InputError):
        house.experiment.submit(pipeline)
    assert not (house.ws.folder / "experiments").exists()


def test_the_commands(house: House, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yml"
    Pipeline(house.ws, [house.step(mini_batch_size=PipelineParameter("size", 5))]).save(file)

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "daskbatch", *arguments], cwd=house.ws.root, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip

    ended = command("submit", str(file), "-p", "size=3", "--wait")
    assert ended.returncode == 0, ended.stderr
    run_id = ended.stdout.splitlines()[0]
    assert f"The run {run_id} is Completed." in ended.stdout
    assert house.calls() == [3, 2]
    assert command("runs").stdout == f"{run_id}  Completed   pipeline  (score Completed)\n"
    assert [run["runId"] for run in json.loads(command("runs", "-e", "pipeline", "--json").stdout)] == [run_id]
    wrong = command("submit", str(file), "-p", "size")
    assert wrong.returncode == 2
    assert "-p must be NAME=VALUE, got 'size'" in wrong.stderr


def test_a_dataframe_of_this_program(house: House) -> None:
    frame = dask.dataframe.from_pandas(pd.DataFrame({"result": ["a", "b"]}), npartitions=1)
    step = house.step(inputs=[TabularDataset.from_dask(frame)])
    run = house.experiment.submit(Pipeline(house.ws, [step]))
    run.wait_for_completion(timeout_seconds=PATIENCE)
    assert house.result(run) == "result,twice\na,aa\nb,bb\n"


def test_what_a_script_writes_is_in_the_steps_output_at_once(house: House, tmp_path: Path) -> None:
    house.script.write_text(
        """
import os, time
from azureml.core import Run
from azureml_user.parallel_run import EntryScript

def run(mini_batch):
    labels = open(Run.get_context().input_datasets["labels"]).read()
    with open(os.path.join(EntryScript().output_dir, "own.txt"), "w") as file:
        file.write(labels)
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.01)
    return mini_batch
"""
    )
    (tmp_path / "labels.txt").write_text("zero one")
    labels = Dataset.File.from_files(str(tmp_path / "labels.txt")).as_named_input("labels").as_mount()
    gate = tmp_path / "gate"
    step = house.step(side_inputs=[labels], environment_variables={"GATE": str(gate)})
    run = house.experiment.submit(Pipeline(house.ws, [step]))
    port = run.find_step_run("score")[0].get_output_data("score")
    own = Path(port.datastore.local_path(port.path_on_datastore), "own.txt")
    wait_for(lambda: own.exists() and own.read_text() == "zero one", "what the script writes")
    gate.touch()
    run.wait_for_completion(timeout_seconds=PATIENCE)
    assert sorted(path.name for path in own.parent.iterdir()) == ["own.txt", "scores.csv"]
    assert not (run.folder / "steps" / "score" / "own.txt").exists()


def test_code_that_is_edited_after_the_submission_is_for_the_next(house: House, tmp_path: Path) -> None:
    code, gate = tmp_path / "code", tmp_path / "gate"
    code.mkdir()
    (code / "second.py").write_text(
        "import os\nword = open(os.path.join(os.path.dirname(__file__), 'word')).read()\n"
        "def run(mini_batch):\n    return [word] * len(mini_batch)\n"
    )
    (code / "word").write_text("first")

    def pipeline() -> Pipeline:
        second = house.step("two", [house.data], entry_script="second.py", source_directory=str(code))
        second.run_after(house.step("one", arguments=["--gate", str(gate)]))
        return Pipeline(house.ws, [second])

    runs = [house.experiment.submit(pipeline())]
    (code / "word").write_text("later")
    gate.touch()
    for content, reused in (("later", False), ("first", True)):
        runs[-1].wait_for_completion(timeout_seconds=PATIENCE)
        (code / "word").write_text(content)
        runs.append(house.experiment.submit(pipeline()))
        runs[-1].wait_for_completion(timeout_seconds=PATIENCE)
        assert runs[-1].find_step_run("two")[0].is_reused is reused
    assert [set(house.result(run, "two").split()[1:]) for run in runs] == [{"first"}, {"later"}, {"first"}]


def test_a_published_pipeline_is_submitted_by_another_program(house: House) -> None:
    published = Pipeline(house.ws, [house.step(arguments=["--add", PipelineParameter("add", "a")])]).publish("digits")
    program = (
        "from daskbatch import *; ws = Workspace.from_config();"
        f" one = PublishedPipeline.get(ws, {published.id!r});"
        " print(one.submit(ws, 'exp', pipeline_parameters={'add': 'b'}).wait_for_completion(),"
        " Experiment(ws, 'exp').submit(one).wait_for_completion())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=house.ws.root, capture_output=True, text=True, check=False
    )
    assert done.stdout == "Completed Completed\n", done.stderr
    later, first = house.experiment.get_runs()
    assert [house.result(run) for run in (first, later)] == [
        NAMES.replace("\n", f"{x}\n").replace(f"t{x}", "t") for x in "ba"
    ]


def test_what_an_environment_asks_for_is_said_once(house: House) -> None:
    env = Environment("asks")
    env.python.conda_dependencies.add_pip_package("no-such-package-here")
    one = house.step("one", environment=env)
    two = house.step("two", [house.data], environment=env)
    two.run_after(one)
    pipeline = Pipeline(house.ws, [one, two])
    with pytest.warns(UserWarning, match="no-such-package-here is asked for") as said:
        first = house.experiment.submit(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = house.experiment.submit(pipeline)
    assert len({str(one.message) for one in said}) == len(said)
    for run in (first, second):
        run.wait_for_completion(timeout_seconds=PATIENCE)
        assert run.get_details()["warnings"] == [str(one.message) for one in said]
    assert (first.folder / "coordinator.log").read_text().count("no-such-package-here is asked for") == 1


def test_a_part_of_a_table_beside_a_whole_one(house: House, tmp_path: Path) -> None:
    # Each alone would be read with other types
    (tmp_path / "one.csv").write_text("result\n01\nb\nc\n")
    (tmp_path / "two.csv").write_text("result\n7\n8\n")
    one, two = (Dataset.Tabular.from_delimited_files(str(tmp_path / f"{name}.csv")) for name in ("one", "two"))
    inputs = [one.skip(1).take(1).as_named_input("one"), two.as_named_input("two")]
    with pytest.warns(UserWarning, match=r"a table with take\(\) or skip\(\) beside others"):
        run = house.experiment.submit(Pipeline(house.ws, [house.step(inputs=inputs)]))
    run.wait_for_completion(timeout_seconds=PATIENCE)
    assert house.result(run) == "result,twice\nb,bb\n7,77\n8,88\n"
    again = house.experiment.submit(Pipeline(house.ws, [house.step(inputs=inputs)]))
    again.wait_for_completion(timeout_seconds=PATIENCE)
    assert again.find_step_run("score")[0].is_reused


JOBS = """
type: pipeline
jobs:
  second:
    type: parallel
    inputs:
      letters: {type: uri_folder, path: ./in}
      told: ${{parent.jobs.first.outputs.told}}
    outputs: {told: {type: uri_file, path: "azureml://datastores/workspaceblobstore/paths/${{name}}/second.txt"}}
    input_data: ${{inputs.letters}}
    task:
      code: code
      entry_script: second.py
      program_arguments: --told ${{inputs.told}}
      append_row_to: ${{outputs.told}}
  first:
    type: parallel
    inputs: {letters: {type: uri_folder, path: ./in}}
    outputs: {told: {type: uri_file, path: "azureml://datastores/workspaceblobstore/paths/${{name}}/first.txt"}}
    input_data: ${{inputs.letters}}
    task: {code: code, entry_script: first.py, append_row_to: "${{outputs.told}}"}
"""


def test_the_file_that_a_job_writes_is_a_file_for_the_next(house: House, tmp_path: Path) -> None:
    for name, text in {
        "code/first.py": "def run(mini_batch):\n    return ['the first line'] * len(mini_batch)\n",
        "code/second.py": (
            "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--told')\n"
            "args, _ = parser.parse_known_args()\n\n\n"
            "def run(mini_batch):\n    return [open(args.told).readline().strip()] * len(mini_batch)\n"
        ),
        "jobs.yml": JOBS,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    run = Pipeline.load(tmp_path / "jobs.yml", house.ws).submit("exp")
    assert run.wait_for_completion(timeout_seconds=PATIENCE) == "Completed"
    port = run.find_step_run("second")[0].get_output_data("told")
    told = Path(port.datastore.local_path(port.path_on_datastore), "second.txt").read_text()
    assert told.splitlines() == ["the first line"] * 5
