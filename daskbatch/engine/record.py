"""``run.json``: what a run is, written once when it is planned, for whoever goes on with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daskbatch.failpoints import failpoint
from daskbatch.store.segments import sync_folder

__all__ = ["RunRecord"]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's identity, options and plan, as JSON values."""

    run_id: str
    created: str
    """Local time."""
    identity: Mapping[str, Any]
    """What makes it this run and no other; see `daskbatch.options.identity`."""
    options: Mapping[str, Any]
    """To run it again."""
    plan: Mapping[str, Any]
    """All of the plan but its file."""
    plan_bytes: int
    """Size of the plan's file."""
    source: str | None
    """Name of the copy of the source directory in the state folder."""

    def write(self, path: Path) -> None:
        """Write all of it or nothing, durably."""
        failpoint("run_json.write.before")
        temporary = path.with_name(f"{path.name}.tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            json.dump(asdict(self), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
        failpoint("run_json.write.after")

    @classmethod
    def read(cls, path: Path) -> RunRecord | None:
        """The record, None where planning was not finished."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
