"""``azureml.core.runconfig``: what other kinds of steps take in Azure, next to an environment."""

from __future__ import annotations

from typing import Any

from daskbatch.api.conda import CondaDependencies
from daskbatch.api.environment import Environment
from daskbatch.api.ignored import accept, ignore

__all__ = ["DockerConfiguration", "RunConfiguration"]


class DockerConfiguration:
    """How Azure's container is started: it has no meaning here, which is said once."""

    def __init__(
        self, use_docker: Any = None, shared_volumes: Any = None, arguments: Any = None, shm_size: Any = None
    ) -> None:
        given = {"use_docker": use_docker, "shared_volumes": shared_volumes, "arguments": arguments}
        accept("DockerConfiguration", given | {"shm_size": shm_size}, (*given, "shm_size"))
        self.use_docker, self.shared_volumes = use_docker, shared_volumes
        self.arguments, self.shm_size = arguments, shm_size


class RunConfiguration:
    """Holds an `Environment`, which a ParallelRunConfig takes; all else has no meaning here, which is said once.

    Parameters
    ----------
    script, arguments, framework, communicator
        Kept, and ignored.
    conda_dependencies : CondaDependencies, optional
        Of its environment.
    """

    environment: Environment

    def __init__(
        self,
        script: Any = None,
        arguments: Any = None,
        framework: Any = None,
        communicator: Any = None,
        conda_dependencies: CondaDependencies | None = None,
    ) -> None:
        self.environment = Environment("RunConfiguration")
        if conda_dependencies is not None:
            self.environment.python.conda_dependencies = conda_dependencies
        given = {"script": script, "arguments": arguments, "framework": framework, "communicator": communicator}
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        if name != "environment" and value is not None:
            ignore("RunConfiguration", [name])
        super().__setattr__(name, value)
