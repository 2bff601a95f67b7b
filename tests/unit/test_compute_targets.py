from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daskbatch import AmlCompute, ComputeTarget, ComputeTargetException, IgnoredWarning, UsageError, Workspace
from daskbatch.api import ignored


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignored, "_said", set())


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.create("w", tmp_path)


def test_local_is_always_there(ws: Workspace) -> None:
    assert list(ws.compute_targets) == ["local"]
    local = ComputeTarget(ws, "local")
    assert (local.type, local.options()) == ("Local", {"compute": "local"})
    with pytest.raises(UsageError, match="cannot be deleted"):
        local.delete()


def test_the_tutorials_way(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    name = "cpu-cluster"
    with pytest.raises(ComputeTargetException, match=r"no compute target 'cpu-cluster'. There are: local"):
        ComputeTarget(workspace=ws, name=name)
    assert name not in ws.compute_targets
    with pytest.warns(IgnoredWarning, match="vm_size"):
        config = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", min_nodes=0, max_nodes=4)
    made = ComputeTarget.create(ws, name, config)
    made.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)
    assert "Succeeded" in capsys.readouterr().out
    found = ws.compute_targets[name]
    assert type(found) is AmlCompute
    assert found.provisioning_state == "Succeeded"
    status = found.get_status().serialize()
    json.dumps(status)
    assert status["currentNodeCount"] == 1
    assert status["scaleSettings"]["maxNodeCount"] == 4
    assert status["vmSize"] == "STANDARD_D2_V2"
    assert found.options() == {"compute": "local"}
    assert [target.name for target in ComputeTarget.list(ws)] == ["cpu-cluster", "local"]
    ComputeTarget.create(ws, name, config)
    found.delete()
    assert list(ws.compute_targets) == ["local"]


def test_a_dask_cluster(ws: Workspace, tmp_path: Path) -> None:
    made = ComputeTarget.register(ws, "cluster", "host:8786")
    assert made.options() == {"scheduler": "tcp://host:8786"}
    assert type(made) is ComputeTarget
    with pytest.raises(UsageError, match=r"taken.*overwrite=True"):
        ComputeTarget.register(ws, "cluster", "host:8787")
    (tmp_path / "scheduler.json").write_text("{}")
    again = ComputeTarget.register(ws, "cluster", str(tmp_path / "scheduler.json"), overwrite=True)
    assert again.options() == {"scheduler": str(tmp_path / "scheduler.json")}
    ComputeTarget.register(ws, "part", definition={"type": "dask", "scheduler": "tls://host:8786", "node_count": 3})
    definition = {"type": "dask", "name": "part", "scheduler": "tls://host:8786", "node_count": 3}
    assert ws.compute_targets["part"].options() == {"compute": definition}
    with pytest.raises(UsageError, match="taken by a compute target of type Dask"):
        ComputeTarget.create(ws, "cluster", AmlCompute.provisioning_configuration())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda ws: ComputeTarget.register(ws, "a/b", "host:1"), "name must begin"),
        (lambda ws: ComputeTarget.register(ws, "local", "host:1"), "'local' is taken"),
        (lambda ws: ComputeTarget.register(ws, "a", "nothing"), "address of a Dask scheduler"),
        (lambda ws: ComputeTarget.create(ws, "../a", AmlCompute.provisioning_configuration()), "name must begin"),
        (lambda ws: ComputeTarget.create(ws, "local", AmlCompute.provisioning_configuration()), "'local' is taken"),
        (lambda ws: ComputeTarget.create(ws, "a", {"vm_size": "x"}), "provisioning_configuration must be"),
        (lambda ws: AmlCompute.provisioning_configuration(min_nodes=-1), "min_nodes must be a whole number"),
        (lambda ws: AmlCompute.provisioning_configuration(min_nodes=3, max_nodes=2), "max_nodes must be .* from 3"),
        (lambda ws: AmlCompute.provisioning_configuration(max_nodes=0), "max_nodes must be .* from 1"),
        (lambda ws: AmlCompute.provisioning_configuration(vmsize="x"), "Did you mean 'vm_size'"),
    ],
)
def test_what_is_refused(ws: Workspace, call: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        call(ws)
    assert not ws.folder.exists()


def test_passwords_are_not_stored(ws: Workspace) -> None:
    with pytest.warns(IgnoredWarning, match="admin_user_password"):
        config = AmlCompute.provisioning_configuration(admin_username="me", admin_user_password="se4cret")
    ComputeTarget.create(ws, "a", config)
    assert "se4cret" not in (ws.folder / "compute" / "a.json").read_text()


def test_more_nodes_than_there_are_is_said(ws: Workspace) -> None:
    with pytest.warns(IgnoredWarning, match="min_node_count above 1"):
        ComputeTarget(ws, "local").wait_for_completion(min_node_count=2)
