"""Compute targets: where runs go, by name."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from daskbatch.api.documents import check_name, names, read_document, write_document
from daskbatch.api.ignored import accept, ignore
from daskbatch.api.named import not_found
from daskbatch.api.yaml_files import read_yaml
from daskbatch.errors import ComputeTargetException, UsageError
from daskbatch.options.compute import DEFINED, parse_compute
from daskbatch.options.scheduler import TLS, scheduler_address, tls_files
from daskbatch.options.values import whole_number

if TYPE_CHECKING:
    from daskbatch.api.workspace import Workspace

__all__ = ["LOCAL", "AmlCompute", "ComputeStatus", "ComputeTarget", "ProvisioningConfiguration", "target_names"]

LOCAL = "local"
"""Always there: this machine."""

_AZURE = (
    *("admin_user_password", "admin_user_ssh_key", "admin_username", "compute_location", "description"),
    *("enable_node_public_ip", "identity_id", "identity_type", "location", "remote_login_port_public_access"),
    *("subnet_name", "tags", "vnet_name", "vnet_resourcegroup_name"),
)


@dataclass(frozen=True, slots=True)
class ProvisioningConfiguration:
    """What `AmlCompute.provisioning_configuration` gives."""

    vm_size: str
    vm_priority: str
    min_nodes: int
    max_nodes: int
    idle_seconds_before_scaledown: int


@dataclass(frozen=True, slots=True)
class ComputeStatus:
    """How a compute target is. There is nothing to wait for here: it is always ready."""

    target: ComputeTarget
    provisioning_state: str = "Succeeded"
    allocation_state: str = "Steady"
    current_node_count: int = 1
    """This machine."""

    def serialize(self) -> dict[str, Any]:
        """The same under Azure's names, as JSON values."""
        document = self.target.document
        idle = document.get("idle_seconds_before_scaledown", 0)
        return {
            "currentNodeCount": self.current_node_count,
            "targetNodeCount": self.current_node_count,
            "nodeStateCounts": {
                "preparingNodeCount": 0,
                "runningNodeCount": 0,
                "idleNodeCount": self.current_node_count,
                "unusableNodeCount": 0,
                "leavingNodeCount": 0,
                "preemptedNodeCount": 0,
            },
            "allocationState": self.allocation_state,
            "errors": None,
            "creationTime": document.get("created"),
            "provisioningState": self.provisioning_state,
            "scaleSettings": {
                "minNodeCount": document.get("min_nodes", 1),
                "maxNodeCount": document.get("max_nodes", 1),
                "nodeIdleTimeBeforeScaleDown": f"PT{idle}S",
            },
            "vmPriority": document.get("vm_priority"),
            "vmSize": document.get("vm_size"),
        }


class ComputeTarget:
    """A compute target of a workspace; one made from a provisioning configuration is an `AmlCompute`.

    Parameters
    ----------
    workspace : Workspace
    name : str
        ``"local"`` is always there.

    Raises
    ------
    ComputeTargetException
        There is none of that name.
    """

    workspace: Workspace
    name: str
    type: str
    """``"Local"``, ``"Dask"``, ``"AmlCompute"``, ``"ssh"``, or that of a batch queue, such as ``"slurm"``."""
    document: Mapping[str, Any]
    """What is stored."""

    def __new__(cls, workspace: Workspace, name: str) -> ComputeTarget:  # noqa: PYI034 - it chooses the class
        """Make an object of the class that the stored type says."""
        known = target_names(workspace)
        if name not in known:
            raise not_found("compute target", name, known, ComputeTargetException)
        document = read_document(_document(workspace, name)) or {"type": "Local"}
        target = object.__new__(AmlCompute if document.get("type") == "AmlCompute" else ComputeTarget)
        target.workspace, target.name, target.document = workspace, name, document
        target.type = str(document.get("type"))
        return target

    @staticmethod
    def create(workspace: Workspace, name: str, provisioning_configuration: ProvisioningConfiguration) -> ComputeTarget:
        """Give a name to what Azure would provision. Here it is this machine.

        Parameters
        ----------
        workspace : Workspace
        name : str
            One of an `AmlCompute` that is there is replaced.
        provisioning_configuration : ProvisioningConfiguration
            Of `AmlCompute.provisioning_configuration`.

        Raises
        ------
        UsageError
            The name is taken by another kind of target, or a value is wrong.
        """
        check_name("name", name)
        if not isinstance(provisioning_configuration, ProvisioningConfiguration):
            raise UsageError(
                "provisioning_configuration must be what AmlCompute.provisioning_configuration(...) gives, got"
                f" {provisioning_configuration!r}. For a Dask cluster: ComputeTarget.register(ws, name, scheduler=...)."
            )
        known = workspace.compute_targets
        if name in known and known[name].type != "AmlCompute":
            raise UsageError(f"name {name!r} is taken by a compute target of type {known[name].type}. Choose another.")
        own = provisioning_configuration
        fields = {field: getattr(own, field) for field in ProvisioningConfiguration.__slots__}
        _write(workspace, name, {"type": "AmlCompute", **fields}, overwrite=True)
        return ComputeTarget(workspace, name)

    @staticmethod
    def register(
        workspace: Workspace,
        name: str,
        scheduler: str | None = None,
        overwrite: bool = False,
        *,
        definition: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    ) -> ComputeTarget:
        """Give a name to a Dask cluster that is there, to a batch queue, or to hosts that are reached over SSH.

        Parameters
        ----------
        workspace : Workspace
        name : str
        scheduler : str
            The scheduler's address, such as ``tcp://host:8786``, or its scheduler file.
        overwrite : bool
            Whether to replace a target of that name.
        definition : mapping or path, optional
            In the place of `scheduler`: ``type``, such as ``"slurm"``, and what a job needs, under dask-jobqueue's
            names; ``"ssh"`` and hosts, under those of ``distributed.SSHCluster``; or a YAML file with that.

        Raises
        ------
        UsageError
            The name is taken, or a value is wrong.
        """
        check_name("name", name)
        content = _content(name, scheduler, definition)
        try:
            if name == LOCAL:
                raise FileExistsError
            _write(workspace, name, content, overwrite=overwrite)
        except FileExistsError:
            advice = "Choose another." if name == LOCAL else "Choose another, or give overwrite=True."
            raise UsageError(f"name {name!r} is taken by a compute target. {advice}") from None
        return ComputeTarget(workspace, name)

    @staticmethod
    def list(workspace: Workspace) -> Targets:
        """All compute targets of a workspace."""
        return [ComputeTarget(workspace, name) for name in target_names(workspace)]

    def options(self) -> dict[str, Any]:
        """What this target says about where a run goes, as options of ``daskbatch.run``."""
        if self.type == "Dask" and not any(name in self.document for name in DEFINED):
            return _of_dask(self.document)
        return {"compute": self.definition()}

    def definition(self) -> str | dict[str, Any]:
        """What ``daskbatch.run(compute=...)`` takes."""
        if self.type == "Dask":
            return {"type": "dask", "name": self.name, **_of_dask(self.document)}
        if "definition" in self.document:
            return {**self.document["definition"], "name": self.name}
        return LOCAL

    @property
    def path(self) -> Path:
        """File that keeps it; there is none of ``"local"``."""
        return _document(self.workspace, self.name)

    @property
    def provisioning_state(self) -> str:
        """``"Succeeded"``."""
        return self.get_status().provisioning_state

    def get_status(self) -> ComputeStatus:
        """How it is: ready."""
        return ComputeStatus(self)

    def wait_for_completion(
        self,
        show_output: bool = False,
        min_node_count: int | None = None,
        timeout_in_minutes: float | None = None,
        is_delete_operation: bool = False,
    ) -> None:
        """Return at once: there is nothing to wait for.

        Parameters
        ----------
        show_output : bool
            Whether to print the state.
        min_node_count : int, optional
            More than one is said to be ignored: this machine is one node.
        timeout_in_minutes : float, optional
        is_delete_operation : bool
        """
        if min_node_count is not None and min_node_count > 1 and self.type != "Dask":
            ignore("wait_for_completion", ["min_node_count above 1"])
        if show_output:
            print(f"{self.provisioning_state}: compute target {self.name!r} ({self.type}) is ready.")

    def delete(self) -> None:
        """Forget the name.

        Raises
        ------
        UsageError
            It is ``"local"``.
        """
        if self.name == LOCAL:
            raise UsageError("The compute target 'local' is this machine, and cannot be deleted.")
        _document(self.workspace, self.name).unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, type={self.type!r})"


class AmlCompute(ComputeTarget):
    """What Azure calls a compute cluster; here, this machine."""

    @staticmethod
    def provisioning_configuration(
        vm_size: str = "",
        vm_priority: str = "dedicated",
        min_nodes: int = 0,
        max_nodes: int | None = None,
        idle_seconds_before_scaledown: int | None = None,
        **ignored: object,
    ) -> ProvisioningConfiguration:
        """Describe a cluster for `ComputeTarget.create`. What it says is kept, and changes nothing here.

        Parameters
        ----------
        vm_size, vm_priority : str
        min_nodes, max_nodes : int
            By default 0 and 4.
        idle_seconds_before_scaledown : int
            Seconds.
        **ignored
            What Azure takes besides.

        Raises
        ------
        UsageError
            A value is wrong.
        """
        low = whole_number("min_nodes", min_nodes, 0)
        high = whole_number("max_nodes", max(4, low) if max_nodes is None else max_nodes, max(low, 1))
        idle = whole_number("idle_seconds_before_scaledown", idle_seconds_before_scaledown or 1800, 0)
        if not isinstance(vm_size, str):
            raise UsageError(f"vm_size must be a name such as 'STANDARD_D2_V2', got {vm_size!r}.")
        accept("AmlCompute.provisioning_configuration", {"vm_size": vm_size or None, **ignored}, (*_AZURE, "vm_size"))
        return ProvisioningConfiguration(vm_size, vm_priority, low, high, idle)


Targets = list[ComputeTarget]  # in the class, list is a method


def target_names(workspace: Workspace) -> list[str]:
    """The names of all compute targets, sorted."""
    return sorted({LOCAL, *names(workspace.folder / "compute")})


def _content(
    name: str, scheduler: str | None, definition: Mapping[str, Any] | os.PathLike[str] | str | None
) -> dict[str, Any]:
    """What is stored of a Dask cluster, a queue or hosts."""
    if (scheduler is None) == (definition is None):
        raise UsageError(
            "Give either scheduler=, of a Dask cluster that is there, or definition=, of a batch queue or hosts."
        )
    if scheduler is not None:
        return {"type": "Dask", "scheduler": scheduler_address(scheduler)}
    if not isinstance(definition, Mapping):
        definition, _ = read_yaml(cast(str, definition), "compute target")
    made, options = parse_compute({**definition, "name": name})
    if "scheduler" in options:
        address = {"scheduler": scheduler_address(options["scheduler"])}
        return {"type": "Dask", **_of_dask(options), **address, **tls_files(options)}
    return {"type": made.type, "definition": dict(definition)}


def _document(workspace: Workspace, name: str) -> Path:
    return workspace.folder / "compute" / f"{name}.json"


def _write(workspace: Workspace, name: str, content: Mapping[str, Any], *, overwrite: bool) -> None:
    created = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    write_document(_document(workspace, name), {"name": name, **content, "created": created}, overwrite=overwrite)


def _of_dask(content: Mapping[str, Any]) -> dict[str, Any]:
    """Of a Dask cluster: how its scheduler is reached, and what is said of runs there, such as ``node_count``."""
    return {name: content[name] for name in ("scheduler", "insecure", *TLS, *DEFINED) if name in content}
