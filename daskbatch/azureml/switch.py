"""Turning the stand-in for the Azure ML SDK on."""

from __future__ import annotations

import sys
import warnings
from importlib.machinery import PathFinder

from daskbatch.errors import UsageError
from daskbatch.worker.shim import ShimFinder, install, is_stand_in
from daskbatch.worker.shim_names import IN_RUNNERS

__all__ = ["HOMES", "enable"]

HOMES = {
    **{name: home for name, home in IN_RUNNERS.items() if name != "Model"},
    "AzureBlobDatastore": "daskbatch.azureml.datastores",
    "AzureFileDatastore": "daskbatch.azureml.datastores",
    "DockerConfiguration": "daskbatch.azureml.run_config",
    "Run": "daskbatch.azureml.script_run",
    "RunConfiguration": "daskbatch.azureml.run_config",
    "StepSequence": "daskbatch.azureml.step_sequence",
}
"""Name -> module that has it, where that is not `daskbatch`: here the whole of it can be imported."""

_enabled: list[ShimFinder] = []


def enable(*, first: bool = False) -> None:
    """Have ``azureml`` and ``azureml_user`` mean daskbatch in this process. Twice is as once.

    Parameters
    ----------
    first : bool
        Whether that holds where the Azure ML SDK is installed, too. By default the SDK is left alone, with a warning.

    Raises
    ------
    UsageError
        The SDK is imported already, and can no longer be shadowed.
    """
    installed = _is_installed()
    if first and installed and not is_stand_in(sys.modules.get("azureml")):
        raise UsageError(
            "The Azure ML SDK is imported in this process already, so it cannot be shadowed. Call"
            " daskbatch.azureml.enable(first=True) before the first import of azureml."
        )
    if _enabled and _enabled[0] in sys.meta_path:
        if not first:
            return
        sys.meta_path.remove(_enabled[0])
    _enabled[:] = [install(HOMES, first=first)]
    if installed and not first:
        warnings.warn(
            "The Azure ML SDK is installed in this Python, so azureml means the SDK, and what you submit goes to Azure."
            " For daskbatch instead: daskbatch.azureml.enable(first=True) before the first import of azureml, or"
            " python -m daskbatch.azureml --first SCRIPT.",
            UserWarning,
            stacklevel=2,
        )


def _is_installed() -> bool:
    """Whether there is an SDK; found out without importing it."""
    top = PathFinder.find_spec("azureml")
    return (
        top is not None
        and top.submodule_search_locations is not None
        and PathFinder.find_spec("azureml.core", top.submodule_search_locations) is not None
    )
