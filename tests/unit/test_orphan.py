"""Options by which a local cluster's processes watch their client."""

from __future__ import annotations

import os
from typing import Any

import dask
import pytest

from daskbatch.cluster.orphan import scheduler_options


@pytest.mark.parametrize(
    ("names", "arguments", "expected_names", "expected_arguments"),
    [
        ([], [], [], []),
        ("json", [], ["json"], [[]]),
        (["json", "csv"], ["--fast"], ["json", "csv"], [["--fast"], ["--fast"]]),
        (["json", "csv"], [["--fast"], []], ["json", "csv"], [["--fast"], []]),
    ],
    ids=["none", "one name", "the same arguments for all", "arguments for each"],
)
def test_preloads_of_the_user_stay(
    names: Any, arguments: list[Any], expected_names: list[str], expected_arguments: list[list[str]]
) -> None:
    configured = {"distributed.scheduler.preload": names, "distributed.scheduler.preload-argv": arguments}
    with dask.config.set(configured):
        options = scheduler_options("/somewhere")
    assert options["preload"] == [*expected_names, "daskbatch.cluster.orphan"]
    assert options["preload_argv"] == [*expected_arguments, [str(os.getpid()), "/somewhere"]]
