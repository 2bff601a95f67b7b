"""Steps' documents as calls of ``daskbatch.run``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from daskbatch import (
    Dataset,
    Environment,
    FileDataset,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    PipelineParameter,
    TabularDataset,
    UsageError,
    Workspace,
)
from daskbatch.api.execution import Call, check_step, output_place, step_call
from daskbatch.api.secret_variables import given_again, with_values, without_values
from daskbatch.api.step_results import reuse_key


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    (tmp_path / "score.py").write_text("def run(mini_batch): return mini_batch\n")
    for name in ("in/a", "in/b", "more/c"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return Workspace.create("ws", tmp_path / "ws")


def document(ws: Workspace, values: Mapping[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    """A step's document, without parameters."""
    folder = ws.root.parent
    step = {name: given.pop(name) for name in ("inputs", "side_inputs", "arguments", "output") if name in given}
    config = ParallelRunConfig(
        **{
            "environment": Environment("env"),
            "entry_script": str(folder / "score.py"),
            "error_threshold": 3,
            "output_action": "append_row",
            "compute_target": "local",
            "node_count": 1,
            **given,
        }
    )
    made = ParallelRunStep("score", config, **{"inputs": [files(ws)], **step})
    steps: list[dict[str, Any]] = Pipeline(ws, [made]).bind(values)["steps"]
    return steps[0]


def files(ws: Workspace, name: str = "in") -> FileDataset:
    return Dataset.File.from_files(str(ws.root.parent / name))


def call(ws: Workspace, step: Mapping[str, Any], run_id: str = "run") -> Call:
    place = output_place(step, run_id, ws)
    return step_call(step, ws, None if place is None else place.local_path(), {}, {}, {"compute": "local"})


def test_options_of_a_step(ws: Workspace) -> None:
    size = PipelineParameter("size", 2)
    step = document(ws, {"size": 7}, mini_batch_size=size, environment_variables={"A": "1"})
    made = call(ws, step)
    assert made.entry == str(ws.root.parent / "score.py")
    assert [one.places() for one in made.inputs.values()] == [(str(ws.root.parent / "in"),)]
    assert made.options == {
        "compute": "local",
        "mini_batch_size": "7",
        "error_threshold": 3,
        "output_action": "append_row",
        "append_row_file_name": "parallel_run_step.txt",
        "node_count": 1,
        "process_count_per_node": 1,
        "logging_level": "INFO",
        "run_invocation_timeout": 60,
        "run_max_try": 3,
        "environment_variables": {"DASKBATCH_WORKSPACE": str(ws.root), "A": "1"},
    }


def test_arguments(ws: Workspace) -> None:
    folder = ws.root.parent
    out, side = PipelineData("scores"), files(ws, "more")
    one = files(ws, "in/a").as_named_input("one").as_mount()
    some = files(ws).take(1).as_named_input("some").as_mount()
    step = document(
        ws,
        {"level": 0.5},
        output=out,
        side_inputs=[side, one, some],
        arguments=["--level", PipelineParameter("level", 1.0), "--out", out, side, one, some, 3],
    )
    *texts, links, last = call(ws, step, "run-1").options["arguments"]
    target = ws.folder / "data" / "azureml" / "run-1" / "scores"
    assert texts == ["--level", "0.5", "--out", str(target), str(folder / "more"), str(folder / "in" / "a")]
    assert last == "3"
    assert [path.name for path in Path(links).iterdir()] == ["a"]
    assert Path(links, "a").read_text() == "in/a"
    assert call(ws, step).options["arguments"][-2] == links


def test_steps_that_may_be_the_same_have_one_key(ws: Workspace) -> None:
    out = PipelineData("scores")
    given: dict[str, Any] = {"output": out, "arguments": ["--out", out], "side_inputs": [files(ws, "more")]}
    step = document(ws, **given)
    key = reuse_key(step, call(ws, step, "run-1"))
    assert reuse_key(step, call(ws, step, "run-2")) == key
    other = document(ws, **given, node_count=2)  # how it runs
    assert reuse_key(other, call(ws, other)) == key
    for more in ({"mini_batch_size": 3}, {"inputs": [files(ws).skip(1)]}, {"arguments": ["--out", out, "x"]}):
        other = document(ws, **{**given, **more})
        assert reuse_key(other, call(ws, other)) != key
    packages = Environment("env")
    packages.python.conda_dependencies.add_pip_package("pillow==9")
    other = document(ws, **given, environment=packages)
    assert reuse_key(other, call(ws, other)) != key


def test_several_inputs_keep_their_names(ws: Workspace) -> None:
    step = document(ws, inputs=[files(ws, "more").as_named_input("more"), files(ws).skip(1).as_named_input("some")])
    made = call(ws, step).inputs
    assert list(made) == ["more", "some"]
    assert made["more"].places() == (str(ws.root.parent / "more"),)
    assert made["some"].places() == (str(ws.root.parent / "in" / "b"),)


def test_several_inputs_are_read_in_the_same_way(ws: Workspace) -> None:
    table = TabularDataset(str(ws.root.parent / "in" / "a"), "csv")
    step = document(ws, inputs=[table, TabularDataset(str(ws.root.parent / "in" / "b"), "csv", separator=";")])
    with pytest.raises(UsageError, match="read in the same way"):
        call(ws, step)
    for name in ("a", "b"):
        (ws.root.parent / "in" / name).write_text("x\n1\n")
    with pytest.raises(UsageError, match="read in the same way"):
        check_step(step, ws, {}, print)


def test_what_is_wrong_is_known_before_the_start(ws: Workspace) -> None:
    said: list[str] = []
    check_step(document(ws), ws, {}, said.append)
    assert said == []
    step = document(ws)
    for path in (ws.root.parent / "in").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="in"):
        check_step(step, ws, {}, said.append)


def test_values_of_environment_variables_are_taken_out_and_put_back(ws: Workspace) -> None:
    env = Environment("env")
    env.environment_variables = {"E": "secret-1"}
    pipeline = {"steps": [document(ws, environment=env, environment_variables={"C": "secret-2"}), document(ws)]}
    pipeline["steps"][1]["name"] = "other"
    stored, values = without_values(pipeline)
    assert "secret" not in str(stored)
    assert with_values(stored, values) == pipeline
    assert given_again(stored, {"E": "secret-1", "C": "secret-2", "unused": "x"}) == values
    with pytest.raises(UsageError, match="environment variables C, whose values are stored nowhere"):
        given_again(stored, {"E": "1"})
