"""Which names of the Azure ML SDK have a stand-in here: one table, for notebooks and runners.

A name stands for what the package ``daskbatch`` has under it, unless `IN_RUNNERS` gives it another home: that is for
what entry scripts use, and needs no more than the standard library.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["IN_RUNNERS", "MODULES"]

_DATASETS = ("DataType", "Dataset", "FileDataset", "TabularDataset")
_STEPS = ("ParallelRunConfig", "ParallelRunStep")
_ERRORS = {
    *("ActivityFailedException", "AuthenticationException", "AzureMLException", "DatasetExecutionError"),
    *("DatasetValidationError", "ExperimentExecutionException", "ModelNotFoundException"),
    *("ModelPathNotFoundException", "ProjectSystemException", "RunConfigurationException", "RunEnvironmentException"),
    *("ServiceException", "SnapshotException", "TrainingException", "UserErrorException", "WebserviceException"),
    "WorkspaceException",
}
_OF_DATASETS = {"DatasetExecutionError", "DatasetValidationError"}
_AUTHENTICATION = (
    *("AbstractAuthentication", "AzureCliAuthentication", "InteractiveLoginAuthentication", "MsiAuthentication"),
    *("ServicePrincipalAuthentication", "TokenAuthentication"),
)

MODULES: Mapping[str, tuple[str, ...]] = {
    "azureml": (),
    "azureml._common": (),
    "azureml._common.exceptions": ("AzureMLException",),
    "azureml.contrib": (),
    "azureml.contrib.pipeline": (),
    "azureml.contrib.pipeline.steps": _STEPS,
    "azureml.core": (
        *("ComputeTarget", "Dataset", "Datastore", "Environment", "Experiment", "Model", "Run", "RunConfiguration"),
        *("VERSION", "Workspace"),
    ),
    "azureml.core.authentication": _AUTHENTICATION,
    "azureml.core.compute": ("AmlCompute", "ComputeTarget"),
    "azureml.core.compute_target": ("ComputeTargetException",),
    "azureml.core.conda_dependencies": ("CondaDependencies",),
    "azureml.core.dataset": ("Dataset",),
    "azureml.core.datastore": ("Datastore",),
    "azureml.core.environment": ("CondaDependencies", "DEFAULT_CPU_IMAGE", "DEFAULT_GPU_IMAGE", "Environment"),
    "azureml.core.experiment": ("Experiment",),
    "azureml.core.model": ("Model",),
    "azureml.core.run": ("Run", "_OfflineRun"),
    "azureml.core.runconfig": (
        *("CondaDependencies", "DEFAULT_CPU_IMAGE", "DEFAULT_GPU_IMAGE", "DockerConfiguration", "RunConfiguration"),
    ),
    "azureml.core.workspace": ("Workspace",),
    "azureml.data": ("DataType", "FileDataset", "OutputFileDatasetConfig", "TabularDataset"),
    "azureml.data.azure_storage_datastore": ("AzureBlobDatastore", "AzureFileDatastore"),
    "azureml.data.dataset_consumption_config": ("DatasetConsumptionConfig",),
    "azureml.data.dataset_error_handling": tuple(sorted(_OF_DATASETS)),
    "azureml.data.dataset_factory": _DATASETS,
    "azureml.data.datapath": ("DataPath",),
    "azureml.data.dataset_type_definitions": ("PromoteHeadersBehavior",),
    "azureml.data.file_dataset": ("FileDataset",),
    "azureml.data.output_dataset_config": ("OutputFileDatasetConfig",),
    "azureml.data.tabular_dataset": ("TabularDataset",),
    "azureml.exceptions": tuple(sorted({"ComputeTargetException", *_ERRORS} - _OF_DATASETS)),
    "azureml.pipeline": (),
    "azureml.pipeline.core": (
        *("Pipeline", "PipelineData", "PipelineParameter", "PipelineRun", "PublishedPipeline", "StepRun"),
        "StepSequence",
    ),
    "azureml.pipeline.core.graph": ("PipelineParameter", "PublishedPipeline"),
    "azureml.pipeline.core.pipeline": ("Pipeline",),
    "azureml.pipeline.core.run": ("PipelineRun", "StepRun"),
    "azureml.pipeline.steps": _STEPS,
    "azureml.widgets": ("RunDetails",),
    "azureml_user": (),
    "azureml_user.parallel_run": ("EntryScript",),
}
"""Module of the SDK -> the names that it has here. Modules between them are listed too."""

IN_RUNNERS: Mapping[str, str] = {
    "DEFAULT_CPU_IMAGE": "daskbatch.worker.shim_core",
    "DEFAULT_GPU_IMAGE": "daskbatch.worker.shim_core",
    "EntryScript": "daskbatch.worker.entry",
    "Model": "daskbatch.worker.shim_core",
    "Run": "daskbatch.worker.shim_core",
    "VERSION": "daskbatch.worker.shim_core",
    "_OfflineRun": "daskbatch.worker.shim_core",
    **dict.fromkeys(_AUTHENTICATION, "daskbatch.worker.shim_authentication"),
    **dict.fromkeys(_ERRORS, "daskbatch.worker.shim_errors"),
}
"""Name -> module that has it, for a runner's interpreter."""
