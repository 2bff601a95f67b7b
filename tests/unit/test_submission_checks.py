"""What a submission refuses before anything begins: else a run would fail in its middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from daskbatch import (
    Dataset,
    Environment,
    Experiment,
    FileDataset,
    InputError,
    OutputFileDatasetConfig,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineParameter,
    TabularDataset,
    UsageError,
    Workspace,
)
from daskbatch.api import dataset_rows
from daskbatch.api.execution import check_step

FORM = "/{store}/*.csv"


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    (tmp_path / "score.py").write_text("def run(mini_batch): return mini_batch\n")
    for store in ("s1", "s2"):
        (tmp_path / "rows" / store).mkdir(parents=True)
        (tmp_path / "rows" / store / "a.csv").write_text("n\n" + "".join(f"{row}\n" for row in range(5)))
    return Workspace.create("w", tmp_path)


def step(ws: Workspace, inputs: Any, name: str = "score", output: Any = None, **options: Any) -> ParallelRunStep:
    config = ParallelRunConfig(
        Environment("e"),
        str(ws.root / "score.py"),
        error_threshold=-1,
        output_action="append_row",
        compute_target="local",
        node_count=1,
        **options,
    )
    return ParallelRunStep(name, config, inputs, output=output)


def refused(ws: Workspace, pipeline: Pipeline, told: str, values: Any = None, kind: type = UsageError) -> None:
    """See that a submission says so, and that there is no run."""
    experiment = Experiment(ws, "exp")
    with pytest.raises(kind, match=told):
        experiment.submit(pipeline, pipeline_parameters=values)
    assert list(experiment.get_runs()) == []


# Keys


@pytest.mark.parametrize("kind", [FileDataset, TabularDataset])
def test_keys_that_the_data_of_a_submission_lacks(ws: Workspace, kind: Any) -> None:
    data = PipelineParameter("data", kind(ws.root / "rows", partition_format=FORM))
    made = Pipeline(ws, [step(ws, [data], partition_keys=["store"])])
    for given, have in (
        (kind(ws.root / "rows"), "none"),
        (kind(ws.root / "rows", partition_format="/{shop}/*.csv"), "shop"),
    ):
        told = rf"The step 'score': partition_keys: the files of the input 'data' have no key 'store'.*They have {have}"
        refused(ws, made, told, {"data": given})


def test_keys_of_rows_that_take_leaves(ws: Workspace) -> None:
    rows = TabularDataset(ws.root / "rows", partition_format=FORM)
    made = Pipeline(ws, [step(ws, [PipelineParameter("data", rows)], partition_keys=["store"])])
    refused(ws, made, r"partition_keys: take\(\) and skip\(\) leave rows of the input 'data'", {"data": rows.skip(1)})


def test_keys_of_an_output_are_those_of_its_reading(ws: Workspace) -> None:
    output = OutputFileDatasetConfig("prepared")
    step(ws, [output.read_delimited_files(partition_format=FORM)], partition_keys=["store"])
    for reading in (output, output.read_delimited_files(), output.read_parquet_files(partition_format="/{shop}/*")):
        with pytest.raises(UsageError, match="the input 'prepared' have no key 'store'"):
            step(ws, [reading], partition_keys=["store"])


JOB = """
type: pipeline
jobs:
  by-store:
    type: parallel
    inputs: {rows: {type: mltable, path: ./rows}}
    outputs: {told: }
    input_data: ${{inputs.rows}}
    partition_keys: [store]
    task: {code: ., entry_script: score.py, append_row_to: "${{outputs.told}}"}
"""

TABLE = """
paths: [{pattern: ./*/*.csv}]
transformations:
- read_delimited"""


@pytest.mark.parametrize(
    ("kind", "table", "told"),
    [
        ("mltable", TABLE, "have no key 'store'"),
        (
            "mltable",
            f"{TABLE}\n- take: 3\n- extract_columns_from_partition_format: '/{{store}}/*.csv'",
            r"take\(\) and skip\(\) leave rows of the input 'rows'",
        ),
        ("uri_folder", None, "have no key 'store'"),
    ],
)
def test_keys_that_a_job_cannot_have(ws: Workspace, kind: str, table: str | None, told: str) -> None:
    if table is not None:
        (ws.root / "rows" / "MLTable").write_text(table)
    (ws.root / "job.yml").write_text(JOB.replace("mltable", kind))
    refused(ws, Pipeline.load(ws.root / "job.yml", ws), f"The step 'by-store': partition_keys: .*{told}")


def test_keys_of_what_another_job_writes(ws: Workspace) -> None:
    job = yaml.safe_load(JOB)
    first = {**job["jobs"]["by-store"], "partition_keys": None}
    job["jobs"]["first"] = first
    job["jobs"]["by-store"]["inputs"] = {"rows": "${{parent.jobs.first.outputs.told}}"}
    (ws.root / "job.yml").write_text(yaml.safe_dump(job))
    refused(ws, Pipeline.load(ws.root / "job.yml", ws), "the files of the input 'rows' have no key 'store'")


# Nothing is left


@pytest.mark.parametrize("cut", [lambda data: data.take(0), lambda data: data.skip(10), lambda data: data.skip(99)])
def test_a_part_with_nothing_in_it(ws: Workspace, cut: Any) -> None:
    rows = TabularDataset(ws.root / "rows")
    refused(ws, Pipeline(ws, [step(ws, [cut(rows)])]), "leave no row of the dataset", kind=InputError)
    files = FileDataset(ws.root / "rows")
    refused(ws, Pipeline(ws, [step(ws, [cut(files)])]), "leave no file of the dataset", kind=InputError)


def test_a_part_is_looked_at_where_that_is_cheap(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = TabularDataset(ws.root / "rows")
    for kept in (rows.skip(9), rows.take(1), FileDataset(ws.root / "rows").skip(1)):
        dataset_rows.refuse_nothing_left(kept)
    for name, most in (("_READ_AT_ONCE", 15), ("_LISTED_AT_ONCE", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(dataset_rows, name, most)
            dataset_rows.refuse_nothing_left(rows.skip(10))  # only the run will know
    with pytest.raises(InputError, match="leave no row"):
        dataset_rows.refuse_nothing_left(rows.skip(10))


# Parts of tables beside others


def test_a_part_of_a_table_beside_others_is_said(ws: Workspace) -> None:
    one, other = (Dataset.Tabular.from_delimited_files(str(ws.root / "rows" / name)) for name in ("s1", "s2"))

    def said(*inputs: Any) -> list[str]:
        told: list[str] = []
        named = [data.as_named_input(f"d{number}") for number, data in enumerate(inputs)]
        check_step(Pipeline(ws, [step(ws, named)]).bind()["steps"][0], ws, {}, told.append)
        return told

    (told,) = said(one.take(2), other)
    assert "'score' has a table with take() or skip() beside others: the rows of all" in told
    assert said(one, other) == said(one.take(2)) == []
