"""What runners get of their node, as a script in them sees it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

import daskbatch
from daskbatch.worker.cores import usable_cores

SCRIPT = """
    import os

    def run(mini_batch):
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
        return [" ".join(os.environ.get(name, "none") for name in names)] * len(mini_batch)
"""


def told(entry: Path | str, folder: Path, **options: Any) -> set[str]:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in/file").write_text("x")
    run = daskbatch.run(
        entry, folder / "in", output=folder / "out", fresh=True, progress=False, append_row_file_name="r.txt", **options
    )
    assert run.output_file is not None
    return set(run.output_file.read_text().splitlines())


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def nannys() -> Iterator[Client]:
    """A worker in a process of its own, as a user would have it."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize("slots", [1, 2])
def test_threads_are_cores_by_slots(slots: int, script: Callable[..., str], tmp_path: Path) -> None:
    share = str(max(1, usable_cores() // slots))
    assert told(script(SCRIPT), tmp_path, process_count_per_node=slots) == {f"{share} {share} {share}"}


@pytest.mark.parametrize("where", ["the program's environment", "environment_variables"])
def test_the_users_own_stay(
    where: str, script: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"process_count_per_node": 1}
    if where == "environment_variables":
        options["environment_variables"] = {"OMP_NUM_THREADS": "7"}
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert told(script(SCRIPT), tmp_path, **options) == {f"7 none {usable_cores()}"}


def test_the_limits_of_dasks_nannies_are_not_the_users(
    nannys: Client, script: Callable[..., str], tmp_path: Path
) -> None:
    # Given a worker whose nanny has set 1
    (seen,) = nannys.run(lambda: os.environ["OMP_NUM_THREADS"]).values()
    assert seen == "1"
    share = str(usable_cores())
    assert told(script(SCRIPT), tmp_path, client=nannys) == {f"{share} {share} {share}"}
