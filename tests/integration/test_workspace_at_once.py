"""Several processes write into one workspace at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from daskbatch import Datastore, Model, Workspace
from daskbatch.api.dataset_registry import get_by_name

PROCESSES = 3
EACH = 12

PROGRAM = """
import json, sys
from pathlib import Path
from daskbatch import Datastore, FileDataset, Model, UsageError, Workspace

root, me = Path(sys.argv[1]), int(sys.argv[2])
ws = Workspace.create("w", root, exist_ok=True)
own = root / f"model-{me}"
own.mkdir()
print("ready", flush=True)
sys.stdin.readline()
models, datasets, won, seen = [], [], [], 0
for n in range(int(sys.argv[3])):
    for name in ("a", "b"):
        (own / name).write_text(f"{me} {n} " + name * 1000)
    models.append(Model.register(ws, own, "shared", tags={"by": me, "n": n}).version)
    data = FileDataset(f"/photos/{me}/{n}").register(ws, "shared", create_new_version=True)
    datasets.append(data.version)
    try:
        Datastore.register(ws, f"store-{n}", root / f"by-{me}")
        won.append(n)
    except UsageError as error:
        assert "is taken" in str(error), error
    Datastore.register(ws, "last", root / f"by-{me}", overwrite=True)
    assert Datastore.get(ws, "last").url.startswith(str(root / "by-"))
    latest = ws.models["shared"]
    for name in ("a", "b"):
        assert Path(latest.path, name).read_text() == f"{latest.tags['by']} {latest.tags['n']} " + name * 1000
        seen += 1
print(json.dumps({"models": models, "datasets": datasets, "won": won, "seen": seen}))
"""


@pytest.fixture
def told(tmp_path: Path) -> list[dict[str, list[int]]]:
    """What each of the processes says of itself, all started at one moment."""
    commands = [[sys.executable, "-c", PROGRAM, str(tmp_path), str(me), str(EACH)] for me in range(PROCESSES)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for command in commands]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    return [json.loads(output) for output in outputs]


def test_each_gets_its_own_and_nobody_sees_half(tmp_path: Path, told: list[dict[str, list[int]]]) -> None:
    ws = Workspace.from_config(tmp_path)
    everything = list(range(1, PROCESSES * EACH + 1))
    assert sorted(number for one in told for number in one["models"]) == everything
    assert sorted(number for one in told for number in one["datasets"]) == everything
    for me, one in enumerate(told):
        assert one["seen"] == 2 * EACH
        for n, (model, dataset) in enumerate(zip(one["models"], one["datasets"], strict=True)):
            assert Model(ws, "shared", version=model).tags == {"by": str(me), "n": str(n)}
            assert get_by_name(ws, "shared", dataset).paths == (f"/photos/{me}/{n}",)


def test_a_name_has_one_winner(tmp_path: Path, told: list[dict[str, list[int]]]) -> None:
    ws = Workspace.from_config(tmp_path)
    assert sorted(n for one in told for n in one["won"]) == list(range(EACH))
    for me, one in enumerate(told):
        for n in one["won"]:
            assert Datastore.get(ws, f"store-{n}").url == str(tmp_path / f"by-{me}")
    assert not list(ws.root.rglob("*.tmp"))
