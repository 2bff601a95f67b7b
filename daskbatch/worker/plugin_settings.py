"""What a run's runners are like, as it travels to every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from daskbatch.spec import Fetched

__all__ = ["PluginSettings"]


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """What a run's runners are like. Travels to every worker."""

    output: str
    """Output folder, readable and writable on every worker; or its URL."""
    state: str
    """The run's state folder, or its URL."""
    setup: Mapping[str, Any]
    """The runner's first message, without what only the node knows."""
    environment: Mapping[str, str]
    """``environment_variables`` of the run."""
    timeouts: Mapping[str, float]
    """Seconds for the phases start, read, run, shutdown."""
    memory_limit: int | None
    """Bytes a slot's tree may use; None: the node's memory / slots."""
    pickled: bytes | None
    """The user's object by cloudpickle; loaded in runners alone."""
    script_output: str
    """Folder for what the script writes, or its URL."""
    python: str | None
    """Interpreter of the runners; None: the worker's own."""
    prefix: tuple[str, ...]
    """Command that starts it; see `daskbatch.worker.prefix`."""
    folders: tuple[str, ...]
    """What of the filesystem the runners need; known where there is a `prefix`."""
    logging_level: str
    folder: str
    """Working directory of the client: relative paths in a script's arguments mean it. Where a node does not have it,
    runners work in a scratch folder."""
    copies: str
    """Such as ``"s3://"``, where the input lies in a store: mini-batches get local copies. Empty: it does not."""
    storage: tuple[tuple[str, str | bool], ...]
    """How that store is reached; credentials are those of the worker."""
    fetched: tuple[Fetched, ...]
    """Of stores, what the script is told local paths of."""
    lease: float
    """Seconds without a sign of the engine after which the worker gives up."""
    output_storage: tuple[tuple[str, str | bool], ...] = ()
    """How the store of `output` is reached, where it is a URL; credentials are those of the worker."""
    models: Mapping[str, bytes] = field(default_factory=dict)
    """Files that note which models the run uses already; for a state on a store."""
    source: Fetched | None = None
    """The source directory, where nodes make a copy on local scratch; None: it is read in its place."""
