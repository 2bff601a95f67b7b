"""Which GPUs a node's slots share."""

from __future__ import annotations

from pathlib import Path

import pytest

from daskbatch.worker import gpus


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("0,1", ["0", "1"]),
        ("3", ["3"]),
        ("GPU-ab, GPU-cd", ["GPU-ab", "GPU-cd"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_a_jobs_own_variable_decides(given: str, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert gpus.visible_gpus() == found


def test_else_the_drivers_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "_NVIDIA", tmp_path / "none")
    assert gpus.visible_gpus() == []
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / name).mkdir(parents=True)
    monkeypatch.setattr(gpus, "_NVIDIA", tmp_path / "gpus")
    assert gpus.visible_gpus() == ["0", "1"]


@pytest.mark.parametrize(
    ("environment", "number", "shared", "found"),
    [
        ({"CUDA_VISIBLE_DEVICES": "7,4"}, 0, False, {"CUDA_VISIBLE_DEVICES": "7"}),
        ({"CUDA_VISIBLE_DEVICES": "7,4"}, 2, False, {"CUDA_VISIBLE_DEVICES": "7"}),
        ({"CUDA_VISIBLE_DEVICES": "10,9"}, 0, True, {"CUDA_VISIBLE_DEVICES": "9"}),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0, False, {}),
        # AMD's: HIP counts within what ROCR leaves
        ({"ROCR_VISIBLE_DEVICES": "7,4"}, 1, False, {"HIP_VISIBLE_DEVICES": "1"}),
        ({"ROCR_VISIBLE_DEVICES": "7,4", "HIP_VISIBLE_DEVICES": "1"}, 1, False, {"HIP_VISIBLE_DEVICES": "1"}),
        ({"HIP_VISIBLE_DEVICES": "3,5"}, 1, False, {"HIP_VISIBLE_DEVICES": "5"}),
    ],
)
def test_a_slot_gets_one(
    environment: dict[str, str],
    number: int,
    shared: bool,
    found: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpus, "_NVIDIA", tmp_path / "none")
    assert gpus.gpu_variables(number, shared, environment) == found
