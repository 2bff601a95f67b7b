"""Environment variables that tell an entry script which step of which run it is in, under Azure's names.

Made from where the run's folder is, and not options of the run: another run of the same step may take its result.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from daskbatch.layout import EXPERIMENT_VARIABLE, ROOT_RUN_VARIABLE, RUN_VARIABLE, WORKSPACE_FOLDER, WORKSPACE_VARIABLE

__all__ = ["step_variables"]


def step_variables(output: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables for a run of the engine; none where it is no step of a pipeline.

    Parameters
    ----------
    output : str
        Its output folder, absolute: ``experiments/EXPERIMENT/RUN/steps/STEP`` in a workspace.
    environment : mapping
        The script's variables, which name the workspace.
    """
    root = environment.get(WORKSPACE_VARIABLE)
    if not root:
        return {}
    parts = os.path.relpath(output, os.path.join(root, WORKSPACE_FOLDER)).split(os.sep)
    if len(parts) != 5 or (parts[0], parts[3]) != ("experiments", "steps"):
        return {}
    _, experiment, run, _, step = parts
    return {EXPERIMENT_VARIABLE: experiment, ROOT_RUN_VARIABLE: run, RUN_VARIABLE: f"{run}-{step}"}
