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

MODULES: Mapping[str, tuple[str, ...]] = {
    "azureml": (),
    "azureml.contrib": (),
    "azureml.contrib.pipeline": (),
    "azureml.contrib.pipeline.steps": _STEPS,
    "azureml.core": (
        *("ComputeTarget", "Dataset", "Datastore", "Environment", "Experiment", "Model", "Run", "VERSION", "Workspace"),
    ),
    "azureml.core.compute": ("AmlCompute", "ComputeTarget"),
    "azureml.core.compute_target": ("ComputeTargetException",),
    "azureml.core.conda_dependencies": ("CondaDependencies",),
    "azureml.core.dataset": ("Dataset",),
    "azureml.core.datastore": ("Datastore",),
    "azureml.core.environment": ("CondaDependencies", "Environment"),
    "azureml.core.experiment": ("Experiment",),
    "azureml.core.model": ("Model",),
    "azureml.core.run": ("Run",),
    "azureml.core.runconfig": ("CondaDependencies", "DEFAULT_CPU_IMAGE", "DEFAULT_GPU_IMAGE"),
    "azureml.core.workspace": ("Workspace",),
    "azureml.data": ("FileDataset", "OutputFileDatasetConfig", "TabularDataset"),
    "azureml.data.dataset_consumption_config": ("DatasetConsumptionConfig",),
    "azureml.data.dataset_factory": _DATASETS,
    "azureml.data.datapath": ("DataPath",),
    "azureml.data.dataset_type_definitions": ("PromoteHeadersBehavior",),
    "azureml.data.file_dataset": ("FileDataset",),
    "azureml.data.output_dataset_config": ("OutputFileDatasetConfig",),
    "azureml.data.tabular_dataset": ("TabularDataset",),
    "azureml.pipeline": (),
    "azureml.pipeline.core": ("Pipeline", "PipelineData", "PipelineParameter", "PipelineRun", "StepRun"),
    "azureml.pipeline.core.graph": ("PipelineParameter",),
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
}
"""Name -> module that has it, for a runner's interpreter."""
