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
