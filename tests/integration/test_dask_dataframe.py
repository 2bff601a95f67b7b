"""Dask dataframes as inputs: their partitions are computed by Dask and scored by runners."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import dask.dataframe as dd
import pandas as pd
import psutil
import pytest
from distributed import Client, LocalCluster

import daskbatch
from daskbatch import ComputeTarget

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # runners cannot import a test

ROWS = 60


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, set_as_default=False) as ours,
    ):  # fmt: skip
        yield ours


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": range(ROWS),
            "value": [None if number % 7 == 3 else number / 8 for number in range(ROWS)],
            "text": [f"text {number}, quoted" for number in range(ROWS)],
        }
    )


class Double:
    """Scores, and tells how long its mini-batch was."""

    def __init__(self) -> None:
        self.factor = 2

    def run(self, mini_batch: pd.DataFrame) -> pd.DataFrame:
        assert list(mini_batch.index) == list(range(len(mini_batch)))
        return mini_batch.assign(double=mini_batch["value"] * self.factor, rows=len(mini_batch))


def expected(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(double=frame["value"] * 2)


@pytest.mark.parametrize("own", [True, False], ids=["own cluster", "client"])
def test_equals_pandas(own: bool, client: Client, frame: pd.DataFrame, tmp_path: Path) -> None:
    # Given a Dask dataframe with some work of its own to do
    ddf = dd.from_pandas(frame, npartitions=4)
    ddf = ddf[ddf["id"] % 2 == 0]
    where: dict[str, Any] = {"process_count_per_node": 2} if own else {"client": client}
    # When a model runs over it
    run = daskbatch.run(
        Double, ddf, output=tmp_path / "out", append_row_file_name="out.parquet", mini_batch_size="4rows",
        progress=False, **where,
    )  # fmt: skip
    # Then the result is what pandas gives, in the dataframe's order
    got = run.to_pandas()
    wanted = expected(frame[frame["id"] % 2 == 0]).reset_index(drop=True)
    pd.testing.assert_frame_equal(got.drop(columns="rows"), wanted, check_dtype=False)
    # and partitions were cut by rows and never joined: 8, 8, 7 and 7 of them
    sizes = run.summary["mini_batches"]["total"]
    assert sizes == 8
    assert set(got["rows"]) <= {3, 4}


def test_partitions_are_cut_by_bytes(client: Client, frame: pd.DataFrame, tmp_path: Path) -> None:
    # Given one partition of some kilobytes
    ddf = dd.from_pandas(frame, npartitions=1)
    # When a mini-batch may have one
    run = daskbatch.run(Double, ddf, output=tmp_path / "out", client=client, mini_batch_size="1KB", progress=False)
    # Then it is cut, and all of it is there
    got = run.to_pandas()
    assert run.summary["mini_batches"]["total"] > 1
    pd.testing.assert_frame_equal(got.drop(columns="rows"), expected(frame), check_dtype=False)


def test_empty_partitions_are_no_mini_batches(client: Client, frame: pd.DataFrame, tmp_path: Path) -> None:
    ddf = dd.from_pandas(frame, npartitions=4)
    ddf = ddf[ddf["id"] >= ROWS // 2]
    run = daskbatch.run(Double, ddf, output=tmp_path / "out", client=client, progress=False)
    assert run.summary["mini_batches"] == {"total": 2, "succeeded": 2, "failed": 0}
    assert list(run.to_pandas()["id"]) == list(range(ROWS // 2, ROWS))


def test_a_dataset_is_the_same_input(client: Client, frame: pd.DataFrame, tmp_path: Path) -> None:
    dataset = daskbatch.TabularDataset.from_dask(dd.from_pandas(frame, npartitions=3))
    run = daskbatch.run(Double, dataset, output=tmp_path / "out", client=client, progress=False)
    pd.testing.assert_frame_equal(run.to_pandas().drop(columns="rows"), expected(frame), check_dtype=False)


def test_what_is_persisted_on_another_cluster(client: Client, frame: pd.DataFrame, tmp_path: Path) -> None:
    # Given a dataframe whose partitions are on a cluster, and a step of its own
    ddf = client.persist(dd.from_pandas(frame, npartitions=2)).assign(more=1)
    # When a run is to have another cluster, then it ends at once and tells of the first one
    with pytest.raises(
        daskbatch.UsageError, match=f"{client.scheduler.address}, and the run is on another one"
    ) as told:
        daskbatch.run(Double, ddf, output=tmp_path / "out", process_count_per_node=1, progress=False)
    assert "client=" in str(told.value)
    # so does a pipeline, when it is made
    ws = daskbatch.Workspace.create("w", tmp_path / "ws")
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    here = ComputeTarget.register(ws, "here", scheduler=client.scheduler.address)

    def pipeline(target: Any) -> daskbatch.Pipeline:
        config = daskbatch.ParallelRunConfig(
            daskbatch.Environment("e"), tmp_path / "score.py", -1, "append_row", target, 1
        )
        dataset = daskbatch.TabularDataset.from_dask(ddf)
        return daskbatch.Pipeline(ws, [daskbatch.ParallelRunStep("one", config, [dataset])])

    with pytest.raises(daskbatch.UsageError, match="The step 'one': The dataframe is persisted on the cluster"):
        pipeline("local")
    # With that cluster all is well, by its address too
    assert pipeline(here).live_inputs
    for where in ({"client": client}, {"scheduler": client.scheduler.address}):
        run = daskbatch.run(Double, ddf, output=tmp_path / "out", fresh=True, progress=False, **where)
        assert run.summary["items"]["succeeded"] == ROWS
    # and what is gone is told, and not waited for
    with Client(client.scheduler.address, set_as_default=False) as other:
        lost = other.persist(dd.from_pandas(frame, npartitions=1))
    with pytest.raises(daskbatch.UsageError, match="whose Client is closed: its data is gone"):
        daskbatch.run(Double, lost, output=tmp_path / "lost", client=client, progress=False)


def test_retries_work_on_partitions_too(client: Client, frame: pd.DataFrame, tmp_path: Path) -> None:
    # Given a function that dies once in the middle of a partition, and raises once in another
    marks = tmp_path / "marks"
    marks.mkdir()

    def score(mini_batch: pd.DataFrame) -> pd.DataFrame:
        first = int(mini_batch["id"].iloc[0])
        mark = marks / str(first)
        if first in (5, 35) and not mark.exists():
            mark.touch()
            if first == 5:
                os._exit(1)
            raise ValueError("once")
        return mini_batch

    # When it runs
    ddf = dd.from_pandas(frame, npartitions=2)
    run = daskbatch.run(score, ddf, output=tmp_path / "out", client=client, mini_batch_size="5rows", progress=False)
    # Then everything is there, once, in order
    assert run.summary["tries"] == ROWS // 5 + 2
    pd.testing.assert_frame_equal(run.to_pandas(), frame, check_dtype=False)


@pytest.mark.parametrize("own", [True, False], ids=["own cluster", "client"])
def test_a_partition_whose_graph_raises_is_named(
    own: bool, client: Client, frame: pd.DataFrame, tmp_path: Path
) -> None:
    # Given a dataframe whose third partition cannot be computed
    def damaged(part: pd.DataFrame) -> pd.DataFrame:
        if len(part) and part["id"].iloc[0] == ROWS // 2:
            raise ValueError("the disk is full of holes")
        return part

    ddf = dd.from_pandas(frame, npartitions=4).map_partitions(damaged, meta=frame.head(0))
    where: dict[str, Any] = {"process_count_per_node": 2} if own else {"client": client}
    # When it is the input
    with pytest.raises(daskbatch.RunFailed, match=r"partition 2 .*ValueError: the disk is full of holes") as caught:
        daskbatch.run(Double, ddf, output=tmp_path / "out", progress=False, **where)
    # Then the run has failed, with a summary
    assert caught.value.summary is not None
    assert caught.value.summary["status"] == "Failed"


def test_the_own_cluster_listens_on_loopback_alone_and_speaks_tls(
    frame: pd.DataFrame, tmp_path: Path, client: Client
) -> None:
    # Given a function that looks at every process of the run, beside those that were there before
    top, others = os.getpid(), [child.pid for child in psutil.Process().children(recursive=True)]

    def speaks_tls(address: tuple[str, int]) -> bool:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(address, 1) as plain, context.wrap_socket(plain) as wrapped:
                wrapped.recv(1)
        except ssl.SSLError as error:  # it asks for a certificate that we do not have
            return "WRONG_VERSION_NUMBER" not in str(error) and "RECORD_LAYER" not in str(error)
        except OSError:
            return False
        return True

    def look(mini_batch: pd.DataFrame) -> list[dict[str, Any]]:
        found = []
        for process in [psutil.Process(top), *psutil.Process(top).children(recursive=True)]:
            if process.pid in others:
                continue
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr not in before:
                    address = (connection.laddr.ip, connection.laddr.port)
                    what = " ".join(process.cmdline())[-60:]
                    found.append({"address": address[0], "tls": speaks_tls(address), "what": f"{address} {what}"})
        return found

    before = [c.laddr for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]

    # When it runs on the cluster that daskbatch makes for a Dask dataframe
    ddf = dd.from_pandas(frame, npartitions=2)
    run = daskbatch.run(look, ddf, output=tmp_path / "out", process_count_per_node=2, progress=False)
    # Then that listens (it has processes of its own), and on no other address
    sockets = run.to_pandas()
    assert set(sockets["address"]) == {"127.0.0.1"}
    # and whatever listens speaks TLS: there is no dashboard unless it is asked for
    assert set(sockets["what"][~sockets["tls"]]) == set()
    assert not [name for name in os.environ if name.startswith("DASK_DISTRIBUTED__COMM__TLS")]


def test_a_bag_is_refused_with_advice(tmp_path: Path) -> None:
    import dask.bag as db

    with pytest.raises(daskbatch.UsageError, match="a Dask dataframe, got a Dask Bag"):
        daskbatch.run(Double, db.from_sequence([1]), output=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
