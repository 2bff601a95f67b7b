"""One mini-batch for each combination of keys, and several inputs told apart: the same whichever way it runs."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.dataframe
import pandas as pd
import pytest
from click.testing import CliRunner
from distributed import Client, LocalCluster
from lives import PATIENCE

import daskbatch
from daskbatch import (
    Dataset,
    Environment,
    Experiment,
    FileDataset,
    ParallelRunConfig,
    ParallelRunStep,
    Pipeline,
    PipelineData,
    TabularDataset,
    UsageError,
    Workspace,
)
from daskbatch.cli import cli

FORM = "/{store}/{day:yyyy-MM-dd}/*"
KEYS = {"partition_format": FORM, "partition_keys": ["store", "day"]}

# The result shows what the mini-batch was like, too.
TABLE_SCRIPT = """
    def run(mini_batch, context):
        values = context.partition_key_value
        return mini_batch.assign(
            rows=len(mini_batch),
            types=" ".join(map(str, mini_batch.dtypes)),
            index=str(mini_batch.index),
            told=f"{values['store']} {values['day']:%d.%m.%Y}",
            place=context.minibatch_index,
            bound=str(context.global_row_index_lower_bound),
        )
"""
FILE_SCRIPT = """
    from pathlib import Path

    def run(mini_batch, context):
        told = f"{context.partition_key_value} {context.dataset} {context.minibatch_index}"
        return [{"name": Path(path).name, "of": len(mini_batch), "told": told} for path in mini_batch]
"""

PLACES = [(store, day, part) for part in range(3) for store in ("b", "a") for day in ("2020-01-31", "2019-12-01")]


def frame(number: int) -> pd.DataFrame:
    rows = range(number * 20, number * 20 + 20)
    return pd.DataFrame({
        "id": rows,
        "x": [None if row % 7 == 3 else row / 7 for row in rows],
        "text": [f'ä "{row}",\nb' for row in rows],
    })  # fmt: skip


def write(folder: Path, kind: str) -> None:
    """Three files of each of four combinations."""
    for number, (store, day, part) in enumerate(PLACES):
        path = folder / store / day / f"{part}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "bin":
            path.write_bytes(b"x" * number)
        elif kind == "parquet":
            frame(number).to_parquet(path, row_group_size=7)
        elif kind.startswith("jsonl"):
            text = frame(number).to_json(orient="records", lines=True)
            path.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
        else:
            columns = ["id", "x", "text"] if part else ["text", "id", "x"]
            text = frame(number)[columns].to_csv(index=False)
            data = text.encode("utf-16" if kind == "utf16.csv" else "utf-8")
            path.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)


KINDS: dict[str, dict[str, Any]] = {
    "bin": {},
    "csv": {"support_multi_line": True},
    "csv.gz": {"support_multi_line": True},
    "utf16.csv": {"support_multi_line": True, "encoding": "utf-16"},
    "jsonl": {},
    "jsonl.gz": {},
    "parquet": {},
}


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_serial_way(
    kind: str, slots: int, tmp_path: Path, script: Callable[..., str], oracle: Callable[..., bytes]
) -> None:
    # Given files whose combinations do not lie together
    write(tmp_path / "in", kind)
    entry = script(FILE_SCRIPT if kind == "bin" else TABLE_SCRIPT)
    options = {**KINDS[kind], **KEYS, "append_row_file_name": "out.jsonl"}
    paths = [str(tmp_path / "in" / store / day / f"{part}.{kind}") for store, day, part in PLACES]
    # When they run by their keys, with tasks so short that they are cut
    run = daskbatch.run(
        entry,
        paths,
        output=tmp_path / "out",
        process_count_per_node=slots,
        task_seconds=0.02,
        progress=False,
        **options,
    )
    # Then every byte is the oracle's, and each combination was one mini-batch, in the order of first appearance
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, paths, **options)
    assert run.summary["mini_batches"]["total"] == 4
    result = run.to_pandas()
    if kind == "bin":
        assert list(result["of"]) == [3] * 12
        assert result["told"][3] == ("{'store': 'b', 'day': datetime.datetime(2019, 12, 1, 0, 0)} None 3-0")
        return
    assert set(result["rows"]) == {60}
    assert set(result["index"]) == {"RangeIndex(start=0, stop=60, step=1)"}
    assert set(result["bound"]) == {"None"}
    assert list(dict.fromkeys(result["told"])) == ["b 31.01.2020", "b 01.12.2019", "a 31.01.2020", "a 01.12.2019"]
    order = [number for first in range(4) for number in range(first, 12, 4)]
    assert list(result["id"]) == [row for number in order for row in range(number * 20, number * 20 + 20)]
    assert list(result["text"][:2]) == ['ä "0",\nb', 'ä "1",\nb']


@pytest.mark.parametrize("kind", ["bin", "csv.gz"])
def test_a_cluster_with_two_workers(
    kind: str, tmp_path: Path, script: Callable[..., str], oracle: Callable[..., bytes]
) -> None:
    write(tmp_path / "in", kind)
    entry = script(FILE_SCRIPT if kind == "bin" else TABLE_SCRIPT)
    inputs = {"one": tmp_path / "in" / "a", "two": str(tmp_path / "in")}
    options = {**KINDS[kind], **KEYS}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        run = daskbatch.run(entry, inputs, output=tmp_path / "out", client=client, progress=False, **options)
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, inputs, **options)
    assert run.summary["mini_batches"]["total"] == 6


COUNTED = """
    import os
    import sys
    import time
    from pathlib import Path

    def run(mini_batch, context):
        notes = Path(sys.argv[1])
        number = len(list(notes.glob(f"{context.minibatch_index}.*")))
        (notes / f"{context.minibatch_index}.{number}").touch()
        if context.minibatch_index == "6-0" and (notes / "dies").exists():
            while not (notes / "committed").exists():
                time.sleep(0.01)
            os.kill(int((notes / "dies").read_text()), 9)
        return [f"{context.dataset} {context.partition_key_value} {Path(path).name}" for path in mini_batch]
"""
PROGRAM = """
import os
import sys
from pathlib import Path

import daskbatch

entry, folder, output, notes = sys.argv[1:]
Path(notes, "dies").write_text(str(os.getpid()))


def hear(event):
    if type(event).__name__ == "TaskFinished":
        Path(notes, "committed").touch()


daskbatch.run(
    entry, {"x": folder + "/a", "y": folder}, output=output, arguments=[notes], partition_format="/{store}/{day}/*",
    partition_keys=["day"], process_count_per_node=1, task_seconds=0.001, listeners=[hear],
)
"""


def test_a_killed_run_goes_on(tmp_path: Path, script: Callable[..., str], oracle: Callable[..., bytes]) -> None:
    # Given a run that is killed with -9 in the middle
    write(tmp_path / "in", "bin")
    notes, more = tmp_path / "notes", tmp_path / "more"
    notes.mkdir()
    more.mkdir()
    entry, program = script(COUNTED), script(PROGRAM, "program.py")
    command = [sys.executable, program, entry, str(tmp_path / "in"), str(tmp_path / "out"), str(notes)]
    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == -9
    (notes / "dies").unlink()
    assert {path.name for path in notes.iterdir()} >= {"0-0.0", "6-0.0"}
    # When it is resumed, from the record of its options
    run = daskbatch.resume(tmp_path / "out", progress=False)
    # Then nothing that was committed has run again, and the bytes are those of an undisturbed run
    assert run.output_file is not None
    options = {"partition_format": "/{store}/{day}/*", "partition_keys": "day"}
    inputs = {"x": tmp_path / "in/a", "y": tmp_path / "in"}
    assert run.output_file.read_bytes() == oracle(entry, inputs, arguments=[str(more)], **options)
    assert run.summary["mini_batches"]["total"] == 4
    assert not (notes / "0-0.1").exists()
    # And the same once more is the same; another name is another run
    again = {**options, "arguments": [str(notes)], "output": tmp_path / "out", "progress": False}
    assert daskbatch.run(entry, inputs, **again).reused
    with pytest.raises(UsageError, match=r"datasets was \['x', 'y'\], now \['x', 'z'\]"):
        daskbatch.run(entry, {"x": tmp_path / "in/a", "z": tmp_path / "in"}, **again)
    with pytest.raises(UsageError, match=r"partition_keys was \['day'\], now \['store'\]"):
        daskbatch.run(entry, inputs, **{**again, "partition_keys": ["store"]})


# Names


def told(run: daskbatch.Run) -> list[str]:
    assert run.output_file is not None
    return [json.loads(line)["result"] for line in run.output_file.read_text().splitlines()]


@pytest.mark.parametrize("compute", ["serial", "local"])
def test_names_of_inputs(compute: str, tmp_path: Path, files: Callable[[int], str]) -> None:
    folder = files(3)

    def run(mini_batch: Any, context: Any) -> list[str | None]:
        return [context.dataset] * len(mini_batch)

    def names(inputs: object) -> list[str]:
        return told(
            daskbatch.run(
                run,
                inputs,
                output=tmp_path / "out",
                fresh=True,
                compute=compute,
                append_row_file_name="out.jsonl",
                process_count_per_node=1,
                progress=False,
            )
        )

    plain = FileDataset(folder)
    named = FileDataset(folder, name="photos")
    assert names(plain) == [None] * 3
    assert names([f"{folder}/f00.bin", f"{folder}/f01.bin"]) == [None] * 2
    assert names(named) == ["photos"] * 3
    assert names(plain.as_named_input("mine")) == ["mine"] * 3
    assert names({"mine": folder}) == ["mine"] * 3
    assert names({"a": [f"{folder}/f00.bin", f"{folder}/f01.bin"], "b": plain.skip(1)}) == [*"aabb"]
    assert names([plain.take(1), named, plain.take(1).as_named_input("c")]) == ["input0", *["photos"] * 3, "c"]


def test_a_dask_dataframe_has_a_name(tmp_path: Path) -> None:
    def run(mini_batch: Any, context: Any) -> list[str]:
        return [f"{context.dataset} {value}" for value in mini_batch["x"]]

    collection = dask.dataframe.from_pandas(pd.DataFrame({"x": range(4)}), npartitions=2)
    named = TabularDataset.from_dask(collection).as_named_input("frame")
    name = "out.jsonl"
    done = daskbatch.run(run, named, output=tmp_path / "out", append_row_file_name=name, progress=False)
    assert told(done) == [f"frame {x}" for x in range(4)]


def step(ws: Workspace, entry: str, inputs: list[Any], **options: Any) -> str:
    """The result of a pipeline with one step."""
    config = ParallelRunConfig(
        environment=Environment("env"),
        entry_script=entry,
        error_threshold=0,
        output_action="append_row",
        append_row_file_name="out.txt",
        compute_target="local",
        node_count=1,
        **options,
    )
    output = PipelineData("scores")
    run = Experiment(ws, "exp").submit(Pipeline(ws, [ParallelRunStep("score", config, inputs=inputs, output=output)]))
    run.wait_for_completion()
    port = run.find_step_run("score")[0].get_output_data("scores")
    return Path(port.datastore.local_path(port.path_on_datastore), "out.txt").read_text()


def test_inputs_of_a_step(tmp_path: Path, script: Callable[..., str]) -> None:
    # Given a step with two named inputs, one of them a part
    ws = Workspace.create("house", tmp_path / "ws")
    write(tmp_path / "in", "bin")
    entry = script("""
        def run(mini_batch, context):
            return [f"{context.dataset} {dict(context.partition_key_value)} {len(mini_batch)}"] * len(mini_batch)
    """)
    a, b = (Dataset.File.from_files(str(tmp_path / "in" / name), partition_format="/{day}/*") for name in "ab")
    two = [a.as_named_input("first"), b.skip(4).as_named_input("second")]
    # Then the script is told their names
    expected = "first {} 4\n" * 4 + "first {} 2\n" * 2 + "second {} 2\n" * 2
    assert step(ws, entry, two, mini_batch_size="4") == expected
    # And by keys each combination of each input is one mini-batch
    days = [("first", "2019-12-01", 3), ("first", "2020-01-31", 3), ("second", "2020-01-31", 2)]
    expected = "".join(f"{name} {{'day': '{day}'}} {count}\n" * count for name, day, count in days)
    assert step(ws, entry, two, partition_keys=["day"]) == expected
    # And an input alone has its name too
    registered = a.register(ws, "letters")
    assert step(ws, entry, [registered.as_named_input("own")], mini_batch_size="9") == "own {} 6\n" * 6


# Other doors


def test_to_dask_shows_the_same(tmp_path: Path) -> None:
    write(tmp_path / "in", "csv.gz")
    dataset = TabularDataset(tmp_path / "in", support_multi_line=True, partition_format=FORM)
    collection = dataset.to_dask(partition_keys=["day"])
    parts = [part.compute(scheduler="sync") for part in collection.partitions]
    assert [len(part) for part in parts] == [120, 120]
    assert [part["day"].dt.strftime("%Y").unique().tolist() for part in parts] == [["2019"], ["2020"]]
    pd.testing.assert_series_equal(parts[0].dtypes, collection._meta.dtypes)
    bag = FileDataset(tmp_path / "in", partition_format=FORM).to_dask(partition_keys="store")
    assert [len(paths) for paths in bag.compute(scheduler="sync")] == [6, 6]


def test_try_and_run_on_the_command_line(tmp_path: Path, script: Callable[..., str]) -> None:
    write(tmp_path / "in", "bin")
    entry, folder = script(FILE_SCRIPT), str(tmp_path / "in")
    options = ["--partition-format", FORM, "--partition-keys", "day,store"]
    tried = CliRunner().invoke(cli, ["try", entry, folder, "--mini-batch", "2", *options])
    assert tried.exit_code == 0, tried.output
    assert f"Mini-batch 6-0: 3 files of {folder}/b/2019-12-01/0.bin and 2 more" in tried.output
    assert "(day=2019-12-01 00:00:00, store=b)" in tried.output
    ran = CliRunner().invoke(cli, ["run", entry, folder, "--output", str(tmp_path / "out"), *options])
    assert ran.exit_code == 0, ran.output
    assert daskbatch.Run.open(tmp_path / "out").summary["mini_batches"]["total"] == 4


def test_named_inputs_on_the_command_line(tmp_path: Path, script: Callable[..., str]) -> None:
    write(tmp_path / "in", "bin")
    entry, folder = script(FILE_SCRIPT), str(tmp_path / "in")
    named = ["--input", f"a={folder}/a", "--input", f"b={folder}/b/*/0.bin", "--input", f"b={folder}/b/*/2.bin"]
    tried = CliRunner().invoke(cli, ["try", entry, *named, "--mini-batch", "1", "--mini-batch-size", "100"])
    assert f"4 files of {folder}/b/2019-12-01/0.bin and 3 more (dataset b)" in tried.output
    for arguments, message in (
        ([folder, *named], "give each a name, or none"),
        (["--input", folder], "must be NAME=PATH"),
        ([], "Missing argument 'INPUTS...'"),
    ):
        for command in ("try", "run"):
            refused = CliRunner().invoke(cli, [command, entry, *arguments])
            assert refused.exit_code == 2
            assert message in refused.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partition_keys": ["stor"]}, r"must be some of store, day, the keys of .* got 'stor'.*store"),
        ({"partition_keys": "store", "mini_batch_size": 10}, "mini_batch_size, 10, both say how the input is cut"),
        ({"partition_keys": ["store", "store"]}, "must be a list of different names"),
        ({"partition_keys": []}, "must be a list of different names"),
        ({"partition_keys": 5}, "must be a list of different names"),
        ({"partition_keys": "a,b", "partition_format": None}, r"partition_format='/\{a\}/\{b\}/\*'"),
    ],
)
def test_what_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write(tmp_path / "in", "bin")
    with pytest.raises(UsageError, match=message):
        daskbatch.run(len, tmp_path / "in", output=tmp_path / "out", **{"partition_format": FORM, **options})
    assert not (tmp_path / "out").exists()


def test_a_dask_dataframe_has_no_keys(tmp_path: Path) -> None:
    collection = dask.dataframe.from_pandas(pd.DataFrame({"x": range(4)}), npartitions=2)
    for inputs in (collection, TabularDataset.from_dask(collection)):
        with pytest.raises(UsageError, match=r"partition_by\(\['x'\], folder\).* or do it in Dask: ddf.groupby"):
            daskbatch.run(len, inputs, output=tmp_path / "out", partition_keys=["x"])


def test_inputs_that_do_not_go_together(tmp_path: Path, files: Callable[[int], str]) -> None:
    folder = files(2)
    plain, collection = FileDataset(folder), dask.dataframe.from_pandas(pd.DataFrame({"x": [1]}), npartitions=1)
    for inputs, message in (
        ([plain, TabularDataset(folder)], "read in the same way"),
        ([TabularDataset(folder), TabularDataset(folder, include_path=True)], "read in the same way"),
        ([TabularDataset.from_dask(collection)] * 2, "read in the same way"),
        ({"a": collection, "b": folder}, "must be the only input of a run"),
        ([plain.as_named_input("a"), plain.as_named_input("a")], "different names, got 'a' twice"),
    ):
        with pytest.raises(UsageError, match=message):
            daskbatch.run(len, inputs, output=tmp_path / "out")
