"""Errors of user code that are no ``Exception``, as a library in Rust raises them when it panics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import daskbatch

SCRIPT = """
    import os
    import sys

    class PanicException(BaseException):
        pass

    def explode():
        raise PanicException("index out of bounds")

    def init():
        if sys.argv[1] == "init":
            explode()

    def run(mini_batch):
        if mini_batch[0].endswith("f03.bin"):
            explode()
        return [os.path.basename(path) for path in mini_batch]
"""


@pytest.fixture(params=["serial", "local"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Of a run in this process, or in runners."""
    return {"mini_batch_size": 1, "compute": request.param, "process_count_per_node": 1, "progress": False}


def test_a_panic_fails_its_mini_batch_alone(
    options: dict[str, Any], files: Callable[[int], str], script: Callable[..., str], tmp_path: Path
) -> None:
    run = daskbatch.run(script(SCRIPT), files(6), output=tmp_path / "out", arguments=["run"], **options)
    (failed,) = run.failed_items()
    assert (failed["error"], failed["message"]) == ("PanicException", "index out of bounds")
    assert "in explode" in failed["traceback"]
    assert run.summary["items"]["succeeded"] == 5
    assert run.summary["tries"] == 5 + 3


def test_a_panic_in_init_is_shown(
    options: dict[str, Any], files: Callable[[int], str], script: Callable[..., str], tmp_path: Path
) -> None:
    with pytest.raises(daskbatch.InitFailed, match=r"(?s)in explode.*PanicException: index out of bounds"):
        daskbatch.run(script(SCRIPT), files(6), output=tmp_path / "out", arguments=["init"], **options)
