"""Runs whose output and state lie on S3: the bytes of a run on a disk, and nothing else left there."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from distributed import Client, LocalCluster
from s3_server import BOTH, Bucket

import daskbatch

pytest_plugins = ["s3_services"]

TABLE = """
    def run(frame):
        frame["twice"] = frame["id"] * 2
        return frame
"""
FILES = """
    def run(mini_batch):
        return [{"name": path.rsplit("/", 1)[1], "size": len(open(path, "rb").read())} for path in mini_batch]
"""
UNEVEN = """
    def run(frame):
        if frame["id"].iloc[0] % 3 == 0:
            frame["third"] = 1.5
        return frame
"""


@pytest.fixture(autouse=True)
def nothing_temporary_left(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield
    assert set(os.listdir(tmp_path / "tmp")) <= {"dask-scratch-space"}
    assert s3.pending() == []


def script(tmp_path: Path, text: str) -> str:
    (tmp_path / "score.py").write_text(textwrap.dedent(text))
    return str(tmp_path / "score.py")


def tables(tmp_path: Path, parts: int = 3, rows: int = 500) -> str:
    folder = tmp_path / "tables"
    folder.mkdir(exist_ok=True)
    for part in range(parts):
        numbers = range(part * rows, (part + 1) * rows)
        frame = pd.DataFrame({"id": numbers, "said": [f"text {n}" for n in numbers]})
        frame.to_csv(folder / f"{part}.csv", index=False)
    return str(folder)


def options(s3: Bucket, **more: Any) -> dict[str, Any]:
    return {"output_storage_options": s3.options, "progress": False, "error_threshold": 0, **more}


@pytest.mark.parametrize("s3", BOTH, indirect=True)
@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet", "p.txt"])
@pytest.mark.parametrize("text", [TABLE, UNEVEN], ids=["even", "uneven"])
def test_the_result_is_that_of_a_disk(s3: Bucket, tmp_path: Path, name: str, text: str) -> None:
    entry, data = script(tmp_path, text), tables(tmp_path)
    same: dict[str, Any] = {"append_row_file_name": name, "mini_batch_size": "3KB", "progress": False}
    oracle = daskbatch.run(entry, data, output=tmp_path / "oracle", compute="serial", **same)
    assert oracle.output_file is not None
    run = daskbatch.run(entry, data, output=f"{s3.url}/out", **options(s3, **same), process_count_per_node=2)
    assert run.output_file is not None
    assert str(run.output_file) == f"{s3.url}/out/{name}"
    assert run.output_file.read_bytes() == oracle.output_file.read_bytes()
    if s3.server.name == "moto":
        run = daskbatch.run(entry, data, output=f"{s3.url}/serial", compute="serial", **options(s3, **same))
        assert s3.get(f"serial/{name}") == oracle.output_file.read_bytes()
    assert run.to_pandas().equals(oracle.to_pandas())
    kept = [key for key in [*s3.keys()] if "/segments/" in key]
    assert kept == []


def test_what_is_for_people_is_there(s3: Bucket, tmp_path: Path) -> None:
    entry = script(tmp_path, FILES.replace("return [", "print('seen'); return ["))
    for number in range(12):
        s3.put(f"in/{number:02}.bin", b"x" * number)
    run = daskbatch.run(
        entry, f"{s3.url}/in/", output=f"{s3.url}/out/", storage_options=s3.options, mini_batch_size=3, progress=False
    )
    assert run.to_pandas()["size"].tolist() == list(range(12))
    names = {key.removeprefix("out/") for key in [*s3.keys()] if key.startswith("out/") and "/.daskbatch/" not in key}
    assert {"predictions.csv", "run_summary.json", "logs/job_result.txt"} <= names
    printed = [name for name in names if name.startswith("logs/user/stdout/")]
    assert b"seen" in b"".join(s3.get(f"out/{name}") for name in printed)
    assert json.loads(s3.get("out/run_summary.json")) == dict(run.summary)
    opened = daskbatch.Run.open(f"{s3.url}/out", s3.options)
    assert (opened.status, opened.failed_items()) == ("Completed", [])


def test_the_same_command_again_finds_the_result(s3: Bucket, tmp_path: Path) -> None:
    entry, data = script(tmp_path, TABLE), tables(tmp_path)
    first = daskbatch.run(entry, data, output=f"{s3.url}/out", **options(s3))
    again = daskbatch.run(entry, data, output=f"{s3.url}/out", **options(s3))
    assert again.reused
    assert dict(again.summary) == dict(first.summary)
    (tmp_path / "score.py").write_text("def run(frame):\n    return frame\n")
    with pytest.raises(daskbatch.RunChanged, match="--fresh"):
        daskbatch.run(entry, data, output=f"{s3.url}/out", **options(s3))
    anew = daskbatch.run(entry, data, output=f"{s3.url}/out", fresh=True, **options(s3))
    assert "twice" not in anew.to_pandas().columns
    state = {key.split("/")[2] for key in [*s3.keys()] if key.startswith("out/.daskbatch/")}
    assert anew.summary["run_id"] in state
    assert first.summary["run_id"] not in state


def test_workers_that_see_nothing_of_the_client_get_the_source_from_the_store(s3: Bucket, tmp_path: Path) -> None:
    # Given a source directory, and a cluster that is not our own
    source = tmp_path / "source"
    (source / "lib").mkdir(parents=True)
    (source / "lib" / "words.py").write_text("WORD = 'from the module'\n")
    program = source / "tool.sh"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)
    text = """
        import os, subprocess
        def run(frame):
            from lib.words import WORD
            tool = subprocess.run([os.path.join(os.path.dirname(__file__), "tool.sh")], stdout=subprocess.PIPE)
            return frame[["id"]].assign(file=__file__, word=WORD, tool=tool.stdout.decode().strip())
    """
    script(source, text)
    given: dict[str, Any] = {"source_directory": str(source), "mini_batch_size": "3KB"}
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster, Client(cluster) as client:
        run = daskbatch.run("score.py", tables(tmp_path), output=f"{s3.url}/out", client=client, **options(s3, **given))
        found = run.to_pandas()
    # Then it ran from what its node has fetched, with modes
    (file,) = found["file"].unique()
    assert Path(file).parents[2].name.startswith(f"daskbatch-node-{os.getuid()}-")
    assert (set(found["word"]), set(found["tool"])) == ({"from the module"}, {"ran"})
    assert len(found) == 1500


def test_failures_are_listed_and_tried_again(s3: Bucket, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.touch()
    text = f"""
        import os
        def run(frame):
            if frame["id"].iloc[0] == 0 and os.path.exists({str(bad)!r}):
                raise ValueError("no")
            return frame
    """
    entry, data = script(tmp_path, text), tables(tmp_path)
    oracle = daskbatch.run(script(tmp_path, text), data, output=tmp_path / "o", compute="serial", progress=False,
                           error_threshold=-1)  # fmt: skip
    assert oracle.failed_items()
    run = daskbatch.run(entry, data, output=f"{s3.url}/out", **options(s3, error_threshold=-1))
    assert [one["error"] for one in run.failed_items()] == ["ValueError"]
    status = daskbatch.status(f"{s3.url}/out", s3.options)
    assert (status.state, status.output) == ("Completed", f"{s3.url}/out")
    bad.unlink()
    whole = daskbatch.retry_failed(f"{s3.url}/out", output_storage_options=s3.options, progress=False)
    assert len(whole.to_pandas()) == 1500
    assert not s3.has("out/failed_items.jsonl")
    # The logs of the first life are added to, as on a disk
    logs = [s3.get(key).decode() for key in [*s3.keys()] if "/logs/sys/node/" in key]
    assert max(text.count(" started, init() took ") for text in logs) == 2


def test_what_a_script_writes_is_there_with_its_results(s3: Bucket, tmp_path: Path) -> None:
    text = """
        import os
        from daskbatch import EntryScript
        def run(mini_batch):
            for path in mini_batch:
                name = os.path.basename(path)
                folder = os.path.join(EntryScript().output_dir, "made")
                os.makedirs(folder, exist_ok=True)
                open(os.path.join(folder, name + ".txt"), "w").write(name)
            return mini_batch
    """
    entry = script(tmp_path, text)
    (tmp_path / "in").mkdir()
    for number in range(6):
        (tmp_path / "in" / f"{number}.bin").write_bytes(b"x")
    for how in ("serial", "local"):
        url = f"{s3.url}/{how}"
        daskbatch.run(entry, tmp_path / "in", output=url, **options(s3), mini_batch_size=1, compute=how,
                      output_action="summary_only")  # fmt: skip
        assert [s3.get(f"{how}/made/{n}.bin.txt").decode() for n in range(6)] == [f"{n}.bin" for n in range(6)]


def test_what_is_wrong_with_the_place_is_said_before_anything_is_begun(s3: Bucket, tmp_path: Path) -> None:
    entry, data = script(tmp_path, TABLE), tables(tmp_path)
    with pytest.raises(daskbatch.UsageError, match="no-such-bucket"):
        daskbatch.run(entry, data, output="s3://no-such-bucket-here/out", **options(s3))
    s3.put("taken/predictions.csv", b"mine")
    with pytest.raises(daskbatch.UsageError, match="would be overwritten"):
        daskbatch.run(entry, data, output=f"{s3.url}/taken", **options(s3))
    with pytest.raises(daskbatch.UsageError, match="lies inside the input"):
        daskbatch.run(entry, f"{s3.url}/in", output=f"{s3.url}/in/out", **options(s3, storage_options=s3.options))
    with pytest.raises(daskbatch.InputError):
        daskbatch.run(entry, tmp_path / "none", output=f"{s3.url}/none", **options(s3))
    assert s3.keys() == ["taken/predictions.csv"]


@pytest.mark.parametrize("s3", BOTH, indirect=True)
@pytest.mark.parametrize("name", ["p.csv", "p.txt", "p.parquet", "uneven.csv"])
def test_a_large_result_is_made_on_the_store(s3: Bucket, tmp_path: Path, name: str) -> None:
    uneven = "if int(mini_batch[0][-6:-4]) % 2: rows['more'] = 1" if name == "uneven.csv" else ""
    text = f"""
        import numpy, pandas
        def run(mini_batch):
            number = int(mini_batch[0][-6:-4])
            values = numpy.random.default_rng(number).integers(0, 10**15, (10_000 * (1 + 9 * (number % 3)), 2))
            rows = pandas.DataFrame(values, columns=["a", "b"])
            {uneven}
            return rows
    """
    (tmp_path / "in").mkdir()
    for number in range(12):
        (tmp_path / "in" / f"{number:02}.bin").touch()
    same: dict[str, Any] = {"append_row_file_name": name, "mini_batch_size": 1, "task_seconds": 0.01}
    entry = script(tmp_path, text)
    oracle = daskbatch.run(entry, tmp_path / "in", output=tmp_path / "o", compute="serial", progress=False, **same)
    assert oracle.output_file is not None
    data = oracle.output_file.read_bytes()
    assert len(data) > 16 * 2**20
    run = daskbatch.run(entry, tmp_path / "in", output=f"{s3.url}/out", **options(s3, **same))
    assert s3.get(f"out/{name}") == data
    assert (run.summary["output"]["bytes"], run.summary["output"]["rows"]) == (
        len(data),
        oracle.summary["output"]["rows"],
    )
    again = daskbatch.run(entry, tmp_path / "in", output=f"{s3.url}/out", **options(s3, **same))
    assert again.reused
