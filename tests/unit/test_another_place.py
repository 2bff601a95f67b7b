"""A run that goes on at another place than it began: what belonged to the first one is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daskbatch import UsageError
from daskbatch.options import make_spec
from daskbatch.options.restore import at_another_place, options_from, stored_options
from daskbatch.spec import RunSpec

JOB = {"cores": 1, "memory": "1GB"}
FIRST = {"type": "slurm", "name": "first", **JOB}
OTHER = {"type": "slurm", "name": "other", **JOB}
ADDRESS = "tls://host:8786"


@pytest.fixture
def go_on(tmp_path: Path) -> Any:
    """Store the options of one run, and give those of the run that goes on with it."""
    script = tmp_path / "score.py"
    script.write_text("def run(mini_batch): return mini_batch\n")

    def resume(began: dict[str, Any], **given: Any) -> RunSpec:
        spec = make_spec(script, [str(script)], output=tmp_path / "out", **began)
        stored = options_from(json.loads(json.dumps(stored_options(spec))))
        return make_spec(**{**at_another_place(stored, given), **given})

    return resume


def test_nothing_is_given(go_on: Any) -> None:
    made = go_on({"compute": {**FIRST, "node_count": 8, "min_nodes": 4}})
    assert (made.compute.name, made.node_count, made.min_nodes) == ("first", 8, 4)
    made = go_on({"scheduler": ADDRESS, "node_count": 3}, run_max_try=1)
    assert (made.scheduler, made.node_count, made.run_max_try) == (ADDRESS, 3, 1)


def test_from_a_scheduler_to_a_queue_and_back(go_on: Any) -> None:
    made = go_on({"scheduler": ADDRESS, "node_count": 3}, compute=FIRST)
    assert (made.compute.name, made.scheduler, made.node_count) == ("first", None, None)
    for given in ({"scheduler": ADDRESS}, {"compute": {"type": "dask", "scheduler": ADDRESS}}):
        made = go_on({"compute": {**FIRST, "node_count": 8, "min_nodes": 4}}, **given)
        assert (made.compute.type, made.scheduler, made.node_count, made.min_nodes) == ("local", ADDRESS, None, 1)


def test_to_this_machine(go_on: Any) -> None:
    began = {"compute": {**FIRST, "node_count": 8, "process_count_per_node": 32}}
    made = go_on(began, compute="local")
    assert (made.compute.type, made.node_count, made.process_count_per_node) == ("local", None, None)
    assert go_on({"scheduler": ADDRESS}, compute="local").scheduler is None


def test_to_another_queue(go_on: Any) -> None:
    began = {"compute": {**FIRST, "node_count": 8, "min_nodes": 4, "job_replacements": 3}}
    made = go_on(began, compute={**OTHER, "node_count": 2})
    assert (made.compute.name, made.node_count, made.min_nodes, made.job_replacements) == ("other", 2, 1, 100)
    assert go_on(began, compute=OTHER, node_count=5).node_count == 5


def test_the_same_queue_with_other_jobs_keeps_what_the_command_said(go_on: Any) -> None:
    began = {"compute": FIRST, "node_count": 8, "process_count_per_node": 2}
    made = go_on(began, compute={**FIRST, "memory": "9GB"})
    assert (made.compute.keywords["memory"], made.node_count, made.process_count_per_node) == ("9GB", 8, 2)
    assert go_on(began, compute={**FIRST, "node_count": 12}).node_count == 12


def test_a_scheduler_that_has_moved(go_on: Any) -> None:
    made = go_on({"scheduler": ADDRESS, "node_count": 3}, scheduler="tls://other:1")
    assert (made.scheduler, made.node_count) == ("tls://other:1", 3)


def test_two_places_at_once(go_on: Any) -> None:
    with pytest.raises(UsageError, match="uses no scheduler that is there already"):
        go_on({}, scheduler=ADDRESS, compute=FIRST)
