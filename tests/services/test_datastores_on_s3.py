"""Workspaces whose data, models and outputs lie on S3: what they do with folders, and nothing left on the nodes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from distributed import Client, LocalCluster
from fault_proxy import FaultProxy
from s3_server import BOTH, Bucket

import daskbatch
from daskbatch import (
    Dataset,
    Datastore,
    Environment,
    Experiment,
    Model,
    OutputFileDatasetConfig,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    PipelineRun,
    UsageError,
    Workspace,
)
from daskbatch.errors import InitFailed

pytest_plugins = ["s3_services"]

PATIENCE = 120

SCRIPT = """
    import argparse, os
    from azureml.core import Model

    parser = argparse.ArgumentParser()
    for name in ("--labels", "--words", "--out", "--model", "--calls"):
        parser.add_argument(name)
    args, _ = parser.parse_known_args()


    def init():
        global known
        words = sorted(os.listdir(args.words))
        known = open(args.labels).read(), "+".join(words)
        assert os.environ["AZUREML_DATAREFERENCE_labels"] == args.labels
        if args.model:
            known += (open(Model.get_model_path(args.model)).read(),)


    def run(mini_batch):
        with open(args.calls, "a") as calls:
            calls.write("call\\n")
        if args.out:
            with open(os.path.join(args.out, "notes.txt"), "w") as notes:
                notes.write("by the script")
        return [" ".join((os.path.basename(path), open(path).read(), *known)) for path in mini_batch]
"""
TWICE = """
    def run(frame):
        return frame.assign(twice=frame["result"] + frame["result"])
"""


class Lab:
    """A workspace whose default datastore is a bucket, with four files and what scripts are told of."""

    def __init__(self, folder: Path, s3: Bucket) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.s3 = s3
        self.ws = Workspace.create("lab", folder / "ws")
        self.store = Datastore.register(self.ws, "bucket", f"{s3.url}/root", **s3.options)
        self.ws.set_default_datastore("bucket")
        for number in range(4):
            s3.put(f"root/in/f{number}", b"%d" % number)
        s3.put("root/labels.txt", b"labels")
        s3.put("root/words/a", b"A")
        s3.put("root/words/deep/b", b"B")
        self.data = Dataset.File.from_files((self.store, "in"))

    def script(self, text: str, name: str = "score.py") -> str:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    def config(self, script: str, **options: Any) -> ParallelRunConfig:
        given: dict[str, Any] = {
            "environment": Environment("env"),
            "entry_script": script,
            "error_threshold": 0,
            "output_action": "append_row",
            "append_row_file_name": "scores.csv",
            "compute_target": "local",
            "node_count": 1,
            "process_count_per_node": 2,
            "mini_batch_size": "1",
            "run_max_try": 1,
        }
        return ParallelRunConfig(**(given | options))

    def step(self, output: Any, arguments: Any = ()) -> ParallelRunStep:
        labels = Dataset.File.from_files((self.store, "labels.txt")).as_named_input("labels").as_mount()
        words = Dataset.File.from_files((self.store, "words")).as_named_input("words").as_mount()
        told = ["--labels", labels, "--words", words, "--out", output, "--calls", str(self.folder / "calls")]
        config = self.config(self.script(SCRIPT))
        return ParallelRunStep(
            "score", config, inputs=[self.data], output=output, side_inputs=[labels, words],
            arguments=[*told, *arguments],
        )  # fmt: skip

    def submit(self, *steps: ParallelRunStep) -> PipelineRun:
        run = Experiment(self.ws, "exp").submit(Pipeline(self.ws, list(steps)))
        run.wait_for_completion(timeout_seconds=PATIENCE)
        return run

    def calls(self) -> int:
        path = self.folder / "calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def left(self) -> list[str]:
        return sorted(set(os.listdir(self.temporary)) - {"dask-scratch-space"})


@pytest.fixture
def lab(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path, s3)


def eventually(done: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.02)


# Datastores and datasets


@pytest.mark.parametrize("s3", BOTH, indirect=True)
def test_files_go_in_and_out(lab: Lab, s3: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    source = lab.folder / "source"
    for name in ("a.txt", "deep/b.txt", "deep/er/ü c#?.txt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    there = lab.store.upload(source, "up")
    assert (there.relative, there.place()) == ("up", f"{s3.url}/root/up")
    assert s3.get("root/up/deep/er/ü c#?.txt").decode() == "deep/er/ü c#?.txt"
    (source / "a.txt").write_text("new")
    lab.store.upload(source, "up")
    assert "passed over" in capsys.readouterr().out
    assert s3.get("root/up/a.txt") == b"a.txt"
    lab.store.upload_files([source / "a.txt"], target_path="up", overwrite=True, show_progress=False)
    assert s3.get("root/up/a.txt") == b"new"
    assert capsys.readouterr().out == ""
    assert lab.store.download(lab.folder / "down", "up/deep", show_progress=False) == 2
    found = {str(p.relative_to(lab.folder / "down")) for p in (lab.folder / "down").rglob("*") if p.is_file()}
    assert found == {"up/deep/b.txt", "up/deep/er/ü c#?.txt"}
    assert lab.store.download(lab.folder / "down", "up", show_progress=False) == 1
    assert lab.store.download(lab.folder / "down", "nothing", show_progress=False) == 0


def test_datasets_of_files(lab: Lab, s3: Bucket) -> None:
    made = Dataset.File.from_files([(lab.store, "in"), lab.store.path("words/deep/*")])
    made.register(lab.ws, "both")
    both = Dataset.get_by_name(lab.ws, "both")
    assert both.to_path() == ["/in/f0", "/in/f1", "/in/f2", "/in/f3", "/words/deep/b"]
    assert both.skip(1).take(2).to_path() == ["/in/f1", "/in/f2"]
    copies = both.take(1).download(lab.folder / "copies")
    assert [Path(path).read_text() for path in copies] == ["0"]
    with pytest.raises(UsageError, match="is there already"):
        both.download(lab.folder / "copies")
    with pytest.raises(UsageError, match="nothing"):
        Dataset.File.from_files((lab.store, "nothing"))
    plain = daskbatch.FileDataset(f"{s3.url}/root/in", storage_options=s3.options)
    assert plain.to_path() == ["/f0", "/f1", "/f2", "/f3"]


def test_datasets_of_rows(lab: Lab) -> None:
    frame = pd.DataFrame({"shop": ["a", "b"] * 3, "n": range(6)})
    made = Dataset.Tabular.register_pandas_dataframe(frame, (lab.store, "rows"), "rows")
    assert Dataset.get_by_name(lab.ws, "rows").to_pandas_dataframe().equals(frame)
    assert made.take(2).to_pandas_dataframe()["n"].to_list() == [0, 1]
    parts = made.partition_by(["shop"], (lab.store, "parts"))
    assert parts.get_partition_key_values() == [{"shop": "a"}, {"shop": "b"}]
    assert sorted(parts.to_pandas_dataframe()["n"]) == list(range(6))
    with pytest.raises(UsageError, match="an empty folder, but there are objects"):
        made.partition_by(["shop"], (lab.store, "parts"))
    lab.s3.put("root/t/a.csv", b"n;text\n1;x\n2;y\n")
    table = Dataset.Tabular.from_delimited_files((lab.store, "t/*.csv"), separator=";")
    assert table.to_pandas_dataframe()["text"].to_list() == ["x", "y"]
    assert table.to_dask().compute()["n"].to_list() == [1, 2]


def test_stores_with_different_options_are_refused_together(lab: Lab, s3: Bucket) -> None:
    other = Datastore.register(lab.ws, "other", f"{s3.url}/root/words", region="us-east-1", **s3.options)
    with pytest.raises(UsageError, match=r"reached by different options.*Next: make a run, or a step, for each"):
        Dataset.File.from_files([(lab.store, "in"), (other, "deep")])
    two = {"one": lab.data, "two": Dataset.File.from_files((other, "deep"))}
    with pytest.raises(UsageError, match="reached by different options"):
        daskbatch.run(lambda batch: batch, two, output=lab.folder / "out", progress=False)
    assert not (lab.folder / "out").exists()


# Pipelines


@pytest.mark.parametrize("s3", BOTH, indirect=True)
def test_a_pipeline_from_store_to_store(lab: Lab, s3: Bucket) -> None:
    s3.put("root/weights.bin", b"weights")
    Model.register(lab.ws, lab.store.path("weights.bin"), "w")
    scores = PipelineData("scores", datastore=lab.store)
    twice = OutputFileDatasetConfig("twice", destination=(lab.store, "twice/{run-id}"))
    second = ParallelRunStep(
        "twice", lab.config(lab.script(TWICE, "twice.py"), mini_batch_size="1MB"),
        inputs=[scores.read_delimited_files(path_glob="scores.csv")], output=twice,
    )  # fmt: skip
    run = lab.submit(lab.step(scores, ["--model", "w"]), second)
    place = run.find_step_run("score")[0].get_output_data("scores")
    assert place.download(lab.folder / "got", show_progress=False) == 2
    root = lab.folder / "got" / place.path_on_datastore
    lines = [f"f{n} {n} labels a+deep weights" for n in range(4)]
    assert (root / "scores.csv").read_text() == "\n".join(["result", *lines, ""])
    assert (root / "notes.txt").read_text() == "by the script"
    place = run.find_step_run("twice")[0].get_output_data("twice")
    found = s3.get(f"root/{place.path_on_datastore}/scores.csv").decode().splitlines()
    assert found == ["result,twice", *(f"{line},{line}{line}" for line in lines)]
    eventually(lambda: lab.left() == [], "the end of what was fetched")

    # The same again is reused, until what it left, or what it was told of, is another.
    again = lab.submit(lab.step(scores, ["--model", "w"]))
    assert again.find_step_run("score")[0].is_reused
    calls = lab.calls()
    reused = again.find_step_run("score")[0].get_output_data("scores")
    s3.put(f"root/{reused.path_on_datastore}/notes.txt", b"by another")
    assert not lab.submit(lab.step(scores, ["--model", "w"])).find_step_run("score")[0].is_reused
    s3.put("root/words/c", b"C")
    assert not lab.submit(lab.step(scores, ["--model", "w"])).find_step_run("score")[0].is_reused
    assert lab.calls() == calls + 8
    stored = "".join(path.read_text(errors="replace") for path in lab.ws.root.rglob("*") if path.is_file())
    assert s3.server.secret not in stored


def test_a_workspace_whose_models_lie_on_a_store(lab: Lab, s3: Bucket) -> None:
    (lab.folder / "net").mkdir()
    (lab.folder / "net" / "graph").write_text("1")
    first = Model.register(lab.ws, lab.folder / "net", "net")
    assert first.path.startswith(f"{s3.url}/root/azureml-models/net/1")
    assert Path(first.download(lab.folder / "copy"), "graph").read_text() == "1"
    assert Path(Model.get_model_path("net", _workspace=lab.ws), "graph").read_text() == "1"
    script = lab.script("""
        import os
        from azureml.core import Model

        def init():
            global path
            path = Model.get_model_path("net")

        def run(mini_batch):
            assert os.path.dirname(path) == os.environ["AZUREML_MODEL_DIR"], os.environ["AZUREML_MODEL_DIR"]
            return [open(os.path.join(path, "graph")).read()] * len(mini_batch)
    """)
    output = PipelineData("out", datastore=lab.store)
    run = lab.submit(ParallelRunStep("score", lab.config(script), inputs=[lab.data], output=output))
    place = run.find_step_run("score")[0].get_output_data("out")
    assert s3.get(f"root/{place.path_on_datastore}/scores.csv") == b"result\n1\n1\n1\n1\n"
    with pytest.raises(UsageError, match="nothing"):
        Model.register(lab.ws, lab.store.path("nothing"), "no")


# Side inputs


TOLD = """
    import os, sys
    def init():
        global text
        text = open(sys.argv[1].partition("=")[2]).read() + open(os.path.join(os.environ["WORDS"], "deep/b")).read()
    def run(mini_batch):
        return [text + sys.argv[1].partition("=")[0]] * len(mini_batch)
"""


def told(lab: Lab, endpoint: str = "") -> dict[str, Any]:
    url = f"{lab.s3.url}/root"
    return {
        "arguments": [f"--labels={url}/labels.txt"],
        "environment_variables": {"WORDS": f"{url}/words"},
        "fetched": [f"{url}/labels.txt", f"{url}/words"],
        "storage_options": {"endpoint_url": endpoint or lab.s3.endpoint},
        "mini_batch_size": 1,
        "progress": False,
    }


@pytest.mark.parametrize("where", ["local", "serial", "two workers"])
def test_once_for_each_node(lab: Lab, proxied: FaultProxy, where: str) -> None:
    with contextlib.ExitStack() as stack:
        how: dict[str, Any] = {"compute": where}
        if where == "two workers":
            cluster = LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
            )
            how = {"client": stack.enter_context(Client(stack.enter_context(cluster), set_as_default=False))}
        run = daskbatch.run(
            lab.script(TOLD), f"{lab.s3.url}/root/in", output=lab.folder / "out", process_count_per_node=2,
            error_threshold=0, **how, **told(lab, proxied.endpoint),
        )  # fmt: skip
    assert run.to_pandas()["result"].to_list() == ["labelsB--labels"] * 4
    assert proxied.count("GET", "root/labels.txt") == 1
    assert proxied.count("GET", "root/words/deep/b") == 1
    assert lab.left() == []


def test_try(lab: Lab) -> None:
    given = told(lab)
    del given["progress"]
    assert daskbatch.try_(lab.script(TOLD), f"{lab.s3.url}/root/in", **given).result == ["labelsB--labels"]
    assert lab.left() == []


@pytest.mark.parametrize("compute", ["local", "serial"])
def test_what_cannot_be_fetched_is_an_error_of_init_that_names_it(lab: Lab, compute: str) -> None:
    given = told(lab)
    lab.s3.client.delete_object(Bucket=lab.s3.name, Key="root/labels.txt")
    with pytest.raises(InitFailed, match=r"/root/labels\.txt"):
        daskbatch.run(
            lab.script(TOLD), f"{lab.s3.url}/root/in", output=lab.folder / "out", compute=compute,
            process_count_per_node=2, **given,
        )  # fmt: skip
    assert lab.left() == []


def test_a_job_tells_its_inputs_on_a_store(lab: Lab) -> None:
    job = {
        "type": "pipeline",
        "jobs": {
            "one": {
                "type": "parallel",
                "compute": "azureml:any",
                "inputs": {
                    "data": {"path": f"{lab.s3.url}/root/in"},
                    "labels": {"type": "uri_file", "path": f"{lab.s3.url}/root/labels.txt"},
                },
                "outputs": {"out": {"type": "uri_file", "path": "./out/scores.csv"}},
                "input_data": "${{inputs.data}}",
                "mini_batch_size": "1",
                "task": {
                    "code": ".",
                    "entry_script": "score.py",
                    "program_arguments": "--labels ${{inputs.labels}}",
                    "append_row_to": "${{outputs.out}}",
                },
            }
        },
    }
    source = lab.folder / "job"
    source.mkdir()
    (source / "score.py").write_text(
        "import sys\ndef run(batch):\n    return [open(sys.argv[2]).read()] * len(batch)\n"
    )
    (source / "job.yml").write_text(json.dumps(job))
    environment = {**os.environ, "AWS_ENDPOINT_URL": lab.s3.endpoint}
    done = subprocess.run(
        [sys.executable, "-m", "daskbatch", "run", "job.yml"], cwd=source, env=environment, capture_output=True,
        text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (source / "out" / "scores.csv").read_text() == "result\n" + "labels\n" * 4
    assert lab.left() == []


def test_kill_9_leaves_nothing(lab: Lab) -> None:
    ready = lab.folder / "ready"
    script = lab.script(f"""
        import sys, time
        def run(mini_batch):
            with open({str(ready)!r}, "w") as file:
                file.write(sys.argv[1])
            time.sleep(600)
    """)
    url = f"{lab.s3.url}/root"
    command = [
        *(sys.executable, "-m", "daskbatch", "run", script, f"{url}/in", "--output", str(lab.folder / "out")),
        *("--storage-options", f"endpoint_url={lab.s3.endpoint}", "--fetched", f"{url}/labels.txt", "--quiet"),
        *("--process-count-per-node", "2", "--", f"{url}/labels.txt"),
    ]
    process = subprocess.Popen(command)
    try:
        eventually(lambda: ready.exists() and ready.read_text(), "the script")
        assert Path(ready.read_text()).read_text() == "labels"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    eventually(lambda: lab.left() == [], "the end of what was fetched")
