from __future__ import annotations

import pytest

from daskbatch.worker.step_variables import step_variables

OWN = {"DASKBATCH_WORKSPACE": "/ws"}


def test_a_step_of_a_pipeline() -> None:
    assert step_variables("/ws/workspace/experiments/night/20261120-ab/steps/score", OWN) == {
        "AZUREML_ARM_PROJECT_NAME": "night",
        "AZUREML_ROOT_RUN_ID": "20261120-ab",
        "AZUREML_RUN_ID": "20261120-ab-score",
    }


@pytest.mark.parametrize(
    "output",
    [
        "/out",
        "/other/workspace/experiments/night/20261120-ab/steps/score",
        "/ws/workspace/experiments/night/20261120-ab",
        "/ws/workspace/experiments/night/20261120-ab/steps/score/more",
        "/ws/workspace/data/night/20261120-ab/steps/score",
    ],
)
def test_any_other_run(output: str) -> None:
    assert step_variables(output, OWN) == {}
    assert step_variables("/ws/workspace/experiments/night/20261120-ab/steps/score", {}) == {}
