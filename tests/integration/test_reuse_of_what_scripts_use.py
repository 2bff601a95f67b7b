"""Models, side inputs and files named in arguments: one run uses one state of them, and a new one counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lives import PATIENCE, wait_for

import daskbatch
from daskbatch import (
    Dataset,
    Environment,
    Experiment,
    Model,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    PipelineRun,
    RunChanged,
    RunFailed,
    Workspace,
)
from daskbatch.events import Event, Notice
from daskbatch.report import default_listeners

OF_A_MODEL = """
import os, time
from azureml.core.model import Model

HERE = os.path.dirname(__file__)

def init():
    global text
    text = open(Model.get_model_path("m")).read()

def run(mini_batch):
    if mini_batch[0].endswith("f3"):
        if os.path.exists(HERE + "/bad"):
            raise ValueError("bad weather")
        try:
            open(HERE + "/asked", "x").close()
        except FileExistsError:
            return [text]
        while not os.path.exists(HERE + "/go"):
            time.sleep(0.01)
        os._exit(3)  # a new process does it again
    return [text for _ in mini_batch]
"""

OF_A_FILE = """
import os, sys

HERE = os.path.dirname(__file__)

def run(mini_batch):
    if mini_batch[0].endswith("f3") and os.path.exists(HERE + "/bad"):
        raise ValueError("bad weather")
    return [open(sys.argv[1]).read() for _ in mini_batch]
"""

OF_A_LOG = """
import os, sys

HERE = os.path.dirname(__file__)

def init():
    with open(sys.argv[1], sys.argv[2]) as log:
        log.write("began\\n")

def run(mini_batch):
    if mini_batch[0].endswith("f3") and os.path.exists(HERE + "/bad"):
        raise ValueError("bad weather")
    return ["done" for _ in mini_batch]
"""

OF_NOTHING = """
import os

def run(mini_batch):
    for path in mini_batch:
        open(os.path.join(os.environ["AZUREML_BI_OUTPUT_PATH"], "of " + os.path.basename(path)), "w").close()
    return mini_batch
"""


class Lab:
    """A workspace with five files, a model and scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "code").mkdir()
        (folder / "in").mkdir()
        for number in range(5):
            (folder / "in" / f"f{number}").write_bytes(b"x")
        for name, text in {"model": OF_A_MODEL, "file": OF_A_FILE, "log": OF_A_LOG, "nothing": OF_NOTHING}.items():
            (folder / "code" / f"{name}.py").write_text(text)
        self.ws = Workspace.create("lab", folder / "ws")

    def register(self, text: str) -> None:
        (self.folder / "m.txt").write_text(text)
        Model.register(self.ws, self.folder / "m.txt", "m")

    def submit(self, script: str, **given: Any) -> PipelineRun:
        config = ParallelRunConfig(
            Environment("env"), str(self.folder / "code" / script), error_threshold=0, output_action="append_row",
            compute_target="local", node_count=1, mini_batch_size="1", run_max_try=given.pop("tries", 1),
        )  # fmt: skip
        data = [Dataset.File.from_files(str(self.folder / "in"))]
        given = {"output": PipelineData("out"), **given}
        step = ParallelRunStep("score", config, inputs=data, **given)
        return Experiment(self.ws, "exp").submit(Pipeline(self.ws, [step]))

    def ended(self, run: PipelineRun) -> str:
        return run.wait_for_completion(raise_on_error=False, timeout_seconds=PATIENCE)

    def output(self, run: PipelineRun) -> Path:
        port = run.find_step_run("score")[0].get_output_data("out")
        return Path(port.datastore.local_path(port.path_on_datastore))

    def words(self, run: PipelineRun) -> set[str]:
        """What the lines of the result are; the run has completed."""
        assert self.ended(run) == "Completed"
        return set((self.output(run) / "parallel_run_step.txt").read_text().split())

    def is_reused(self, run: PipelineRun) -> bool:
        assert self.ended(run) == "Completed"
        return run.find_step_run("score")[0].is_reused


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_model_that_is_registered_meanwhile_is_for_the_next_run(lab: Lab) -> None:
    lab.register("one")
    run = lab.submit("model.py", tries=3)
    wait_for((lab.folder / "code" / "asked").exists, "the mini-batch that kills its process")
    lab.register("two")
    (lab.folder / "code" / "go").touch()
    assert lab.words(run) == {"one"}
    assert run.find_step_run("score")[0].get_metrics()["tries"] == 6
    # The next one sees it, and then nothing is new
    assert lab.words(lab.submit("model.py", tries=3)) == {"two"}
    assert lab.is_reused(lab.submit("model.py", tries=3))


def test_a_model_that_a_step_does_not_use_is_nothing_to_it(lab: Lab) -> None:
    for name in ("m", "another"):
        (lab.folder / name).write_text(name)
        Model.register(lab.ws, lab.folder / name, name)
    assert not lab.is_reused(lab.submit("nothing.py"))
    Model.register(lab.ws, lab.folder / "another", "another")
    assert lab.is_reused(lab.submit("nothing.py"))


def test_a_run_that_goes_on_keeps_its_model(lab: Lab) -> None:
    bad = lab.folder / "code" / "bad"
    for name in ("bad", "asked"):
        (lab.folder / "code" / name).touch()
    variables = {"DASKBATCH_WORKSPACE": lab.ws.root}

    def run() -> daskbatch.Run:
        return daskbatch.run(
            lab.folder / "code" / "model.py", lab.folder / "in", output=lab.folder / "out", mini_batch_size=1,
            error_threshold=0, run_max_try=1, process_count_per_node=1, append_row_file_name="out.txt",
            environment_variables=variables, progress=False,
        )  # fmt: skip

    lab.register("one")
    with pytest.raises(RunFailed, match="bad weather"):
        run()
    lab.register("two")
    bad.unlink()
    # The failed mini-batch is tried again, by a process that begins now
    again = daskbatch.retry_failed(lab.folder / "out", environment_variables=variables)
    assert again.output_file is not None
    assert again.output_file.read_text().split() == ["one"] * 5
    with pytest.raises(RunChanged, match="the model m was version 1, now the latest is 2"):
        run()


@pytest.mark.parametrize("how", ["side input", "argument"])
def test_what_a_script_reads_besides(lab: Lab, how: str) -> None:
    labels, bad = lab.folder / "labels.txt", lab.folder / "code" / "bad"
    bad.touch()
    labels.write_text("one")
    side = Dataset.File.from_files(str(labels)).as_named_input("labels").as_mount()
    given: dict[str, Any] = {"arguments": [str(labels)]}
    if how == "side input":
        given = {"arguments": [side], "side_inputs": [side]}
    run = lab.submit("file.py", **given)
    assert lab.ended(run) == "Failed"
    labels.write_text("number two")
    bad.unlink()
    # Nothing is mixed
    run.resume()
    assert lab.ended(run) == "Failed"
    message = run.get_details()["error"]["message"]
    assert ("the side input labels has changed" if how == "side input" else f"{labels}, which an argument") in message
    again = lab.submit("file.py", **given)
    assert lab.words(again) == {"number", "two"}
    assert lab.is_reused(lab.submit("file.py", **given))
    labels.write_text("three")
    assert lab.words(lab.submit("file.py", **given)) == {"three"}


def test_an_output_of_which_something_is_gone_is_made_again(lab: Lab) -> None:
    first = lab.submit("nothing.py")
    assert not lab.is_reused(first)
    assert lab.is_reused(lab.submit("nothing.py"))
    (lab.output(first) / "of f2").unlink()
    again = lab.submit("nothing.py")
    assert not lab.is_reused(again)
    assert (lab.output(again) / "of f2").exists()


def test_an_output_folder_with_files_in_it_is_told_of(lab: Lab) -> None:
    target = daskbatch.OutputFileDatasetConfig("out", destination=(lab.ws.get_default_datastore(), "fixed"))
    folder = Path(lab.ws.get_default_datastore().local_path("fixed"))
    folder.mkdir(parents=True)
    (folder / "of yesterday").touch()
    with pytest.warns(UserWarning, match="the step 'score' goes to .*fixed', which holds files already"):
        run = lab.submit("nothing.py", output=target)
    assert lab.ended(run) == "Completed"
    assert (folder / "of yesterday").exists()


def run_with_log(lab: Lab, how: str, may_fail: int = 0, told: list[Event] | None = None) -> daskbatch.Run:
    listeners = default_listeners(str(lab.folder / "out"), quiet=True)
    return daskbatch.run(
        lab.folder / "code" / "log.py", lab.folder / "in", output=lab.folder / "out", mini_batch_size=1,
        arguments=[lab.folder / "log", how, lab.folder, "."], error_threshold=may_fail, run_max_try=1, progress=False,
        process_count_per_node=1, listeners=[*listeners, *([] if told is None else [told.append])],
    )  # fmt: skip


@pytest.mark.parametrize("how", ["a", "w"])
def test_a_log_is_no_change(lab: Lab, how: str) -> None:
    # Folders that arguments name are not compared; nor is a log, whether it is continued or begun anew
    log = lab.folder / "log"
    log.write_text("of yesterday\n")
    assert not run_with_log(lab, how).reused
    for _ in range(2):
        with log.open("a") as file:
            file.write("of another job\n")
        (lab.folder / f"new {log.stat().st_size}").touch()
        assert run_with_log(lab, how).reused
    log.write_text("another\n")
    with pytest.raises(RunChanged, match=f"the file {log}, which an argument names, has changed: its size was"):
        run_with_log(lab, how)
    log.unlink()
    with pytest.raises(RunChanged, match="it is gone"):
        run_with_log(lab, how)


def test_a_run_that_has_changed_a_file_itself_goes_on(lab: Lab) -> None:
    log, bad = lab.folder / "log", lab.folder / "code" / "bad"
    log.write_text("of yesterday\n")
    bad.touch()
    with pytest.raises(RunFailed, match="bad weather"):
        run_with_log(lab, "w")
    bad.unlink()
    told: list[Event] = []
    assert not run_with_log(lab, "w", may_fail=1, told=told).reused
    assert [event.message for event in told if isinstance(event, Notice)] == [
        f"{log} changed while the run was at work; what was done before may have seen it as it was"
    ]
    assert run_with_log(lab, "w", may_fail=1).reused


def test_a_run_whose_file_was_changed_since_does_not_go_on(lab: Lab) -> None:
    log, bad = lab.folder / "log", lab.folder / "code" / "bad"
    log.write_text("of yesterday\n")
    bad.touch()
    with pytest.raises(RunFailed, match="bad weather"):
        run_with_log(lab, "a")
    bad.unlink()
    log.write_text("another\n")
    with pytest.raises(RunChanged, match=f"the file {log}, which an argument names, has changed"):
        run_with_log(lab, "a")


def test_a_log_that_grows_lets_a_step_be_reused(lab: Lab) -> None:
    log = lab.folder / "log"
    log.touch()
    assert not lab.is_reused(lab.submit("log.py", arguments=[str(log), "a"]))
    with log.open("a") as file:
        file.write("of another job\n")
    assert lab.is_reused(lab.submit("log.py", arguments=[str(log), "a"]))
