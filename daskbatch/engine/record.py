"""``run.json``: what a run is, written when its work begins and when it is planned, for whoever goes on with it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daskbatch.errors import UsageError
from daskbatch.failpoints import failpoint
from daskbatch.store.segments import sync_folder

__all__ = ["ARGUMENT_FILES", "RunRecord"]

ARGUMENT_FILES = "argument_files"
"""In the identity: what the files that arguments name were like when the run began."""


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
    plan_digest: str
    """Of the plan's file. Empty: the input was still being listed, and `plan` tells how far that was at the start."""
    source: str | None
    """Name of the copy of the source directory in the state folder."""

    @property
    def planned(self) -> bool:
        """Whether the input was listed to its end."""
        return bool(self.plan_digest)

    def write(self, path: Path) -> None:
        """Write all of it or nothing, durably."""
        failpoint("run_json.write.before")
        temporary = path.with_name(f"{path.name}.tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        content = asdict(self)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            json.dump(content | {"digest": _digest(content)}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
        failpoint("run_json.write.after")

    @classmethod
    def read(cls, path: Path) -> RunRecord | None:
        """The record, None where planning was not finished.

        Raises
        ------
        UsageError
            It is damaged.
        """
        try:
            content = json.loads(path.read_text(encoding="ascii"))
            if content.pop("digest") == _digest(content):
                return cls(**content)
        except FileNotFoundError:
            return None
        except (OSError, LookupError, AttributeError, TypeError, ValueError):
            pass
        raise UsageError(
            f"{str(path)!r} is damaged, or of another version of daskbatch: it does not tell any more what run that is."
            " Next: add --fresh (fresh=True), which discards that run and begins anew; or choose another output folder."
        )


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()
