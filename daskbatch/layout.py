"""Names in output folders and workspaces, which users and programs rely on."""

from __future__ import annotations

from pathlib import PurePath

__all__ = [
    "COORDINATOR_LOG",
    "COORDINATOR_VARIABLE",
    "EXPERIMENT_VARIABLE",
    "FAILED_ITEMS",
    "FETCH_PYTHON_VARIABLE",
    "LOGS",
    "MODELS_USED_VARIABLE",
    "MODELS_VARIABLE",
    "NODE_FILES_VARIABLE",
    "ROOT_RUN_VARIABLE",
    "RUN_SUMMARY",
    "RUN_VARIABLE",
    "SIDE_INPUT_VARIABLE",
    "STATE_FOLDER",
    "VARIABLES_VARIABLE",
    "WORKSPACE_FOLDER",
    "WORKSPACE_VARIABLE",
    "partial_name",
]

COORDINATOR_LOG = "coordinator.txt"
"""What the coordinator of a submitted run says, in the logs."""
COORDINATOR_VARIABLE = "DASKBATCH_COORDINATOR"
"""Environment variable by which a submitted run's coordinator knows that it is one."""
EXPERIMENT_VARIABLE = "AZUREML_ARM_PROJECT_NAME"
"""Environment variable that names the experiment to the entry scripts of a pipeline."""
FAILED_ITEMS = "failed_items.jsonl"
"""A line for each mini-batch that failed or returned too little; there only if one did."""
FETCH_PYTHON_VARIABLE = "DASKBATCH_FETCH_PYTHON"
"""Environment variable of entry scripts: the interpreter that can fetch objects of a store for them."""
LOGS = "logs"
ROOT_RUN_VARIABLE = "AZUREML_ROOT_RUN_ID"
"""Environment variable with the id of the pipeline's run."""
MODELS_USED_VARIABLE = "DASKBATCH_MODELS_USED"
"""Environment variable of entry scripts: the private folder in which a run notes which model versions it uses."""
MODELS_VARIABLE = "DASKBATCH_MODELS"
"""Environment variable of a pipeline's steps: a JSON file whose ``models`` were the latest versions at submission."""
NODE_FILES_VARIABLE = "DASKBATCH_NODE_FILES"
"""Environment variable of entry scripts: the folder with what was fetched for all processes of the run on this host."""
RUN_SUMMARY = "run_summary.json"
"""There once the run has ended."""
RUN_VARIABLE = "AZUREML_RUN_ID"
"""Environment variable with the id of the step's run."""
SIDE_INPUT_VARIABLE = "AZUREML_DATAREFERENCE_"
"""A side input's name follows: environment variables that tell entry scripts the paths of side inputs."""
STATE_FOLDER = ".daskbatch"
"""Private: what the run is, its plan, ledgers and segments."""
VARIABLES_VARIABLE = "DASKBATCH_VARIABLES"
"""Environment variable of a submitted run's coordinator: values of ``environment_variables``, as JSON."""
WORKSPACE_FOLDER = "workspace"
"""In a workspace's root: all that is registered, and the runs."""
WORKSPACE_VARIABLE = "DASKBATCH_WORKSPACE"
"""Environment variable that names a workspace's root to entry scripts."""


def partial_name(name: str) -> str:
    """What the result is called while it is not whole: ``predictions.csv`` to ``predictions.partial.csv``."""
    path = PurePath(name)
    return f"{path.stem}.partial{path.suffix}"
