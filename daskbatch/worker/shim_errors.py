"""The Azure ML SDK's exceptions: which of ours each of them is.

What Azure raises where nothing of the kind can happen here is a class of its own, which is never raised: an
``except`` clause that names it stays what it is.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

from daskbatch.errors import DaskbatchError, EntryScriptError, InputError, NotFound, RunFailed, UsageError

__all__ = [
    "ActivityFailedException",
    "AuthenticationException",
    "AzureMLException",
    "DatasetExecutionError",
    "DatasetValidationError",
    "ExperimentExecutionException",
    "ModelNotFoundException",
    "ModelPathNotFoundException",
    "ProjectSystemException",
    "RunConfigurationException",
    "RunEnvironmentException",
    "ServiceException",
    "SnapshotException",
    "TrainingException",
    "UserErrorException",
    "WebserviceException",
    "WorkspaceException",
]

ActivityFailedException = RunFailed
AzureMLException = DaskbatchError
DatasetExecutionError = InputError
DatasetValidationError = InputError
ExperimentExecutionException = UsageError
ModelNotFoundException = NotFound
ModelPathNotFoundException = NotFound
ProjectSystemException = UsageError
RunConfigurationException = UsageError
SnapshotException = EntryScriptError
TrainingException = RunFailed
UserErrorException = UsageError
WebserviceException = NotFound  # what Model(ws, name) raises
WorkspaceException = UsageError


class AuthenticationException(DaskbatchError):
    """Never raised: nobody is asked who they are."""


class RunEnvironmentException(DaskbatchError):
    """Never raised: there is always a run for ``Run.get_context()``."""


class ServiceException(DaskbatchError):
    """Never raised: there is no service."""
