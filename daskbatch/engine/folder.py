"""The output folder of a run: where its state lies, and its private part."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from daskbatch.errors import EntryScriptError
from daskbatch.options.output import STATE_FOLDER

__all__ = ["RunFolder", "partial_name"]

_NOT_SOURCE = (".git", "__pycache__", ".ipynb_checkpoints", ".venv", STATE_FOLDER)
_SOURCE_LIMIT = 300 * 2**20


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of one run."""

    output: Path

    @property
    def state(self) -> Path:
        """Private: plan, ledger, segments, source."""
        return self.output / STATE_FOLDER

    @property
    def plan(self) -> Path:
        """The files of the input, as they were found."""
        return self.state / "plan.jsonl"

    @property
    def ledger(self) -> Path:
        """What counts."""
        return self.state / "ledger-1.jsonl"

    @property
    def segments(self) -> Path:
        """What the slots wrote."""
        return self.state / "segments"

    @property
    def logs(self) -> Path:
        """For people."""
        return self.output / "logs"

    @property
    def processed(self) -> Path:
        """One line for each mini-batch, after the run."""
        return self.logs / "sys" / "job_report" / "processed_mini-batches.csv"

    def create(self) -> None:
        """Make the private folders, readable by this user alone."""
        for folder in (self.state, self.segments):
            folder.mkdir(mode=0o700, parents=True)
        self.plan.touch(mode=0o600)

    def drop_segments(self) -> None:
        """The combined file is published: what it was made of goes."""
        shutil.rmtree(self.segments, ignore_errors=True)

    def snapshot(self, source: str) -> Path:
        """Copy a source directory, once for each content.

        Returns
        -------
        Path
            The copy; workers run that, whatever happens to the original meanwhile.

        Raises
        ------
        EntryScriptError
            It is too large to be source code.
        """
        digest, total = hashlib.sha256(), 0
        for folder, folders, names in os.walk(source):
            folders[:] = sorted(set(folders).difference(self._ignore(folder, folders)))
            for name in sorted(names):
                path = Path(folder, name)
                if not path.is_file():
                    continue
                total += path.stat().st_size
                if total > _SOURCE_LIMIT:
                    raise EntryScriptError(
                        f"source_directory {source!r} holds more than {_SOURCE_LIMIT >> 20} MiB. It is copied for the "
                        "workers: keep code there, and pass models and data by path in the arguments."
                    )
                digest.update(os.fsencode(path.relative_to(source)) + b"\0")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        target = self.state / f"source-{digest.hexdigest()[:16]}"
        if not target.exists():
            shutil.copytree(source, target, ignore=self._ignore)
        return target

    def _is_output(self, folder: str, name: str) -> bool:
        return Path(folder, name).resolve() == self.output.resolve()

    def _ignore(self, folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name in _NOT_SOURCE or self._is_output(folder, name)]


def partial_name(name: str) -> str:
    """``predictions.csv`` to ``predictions.partial.csv``."""
    path = Path(name)
    return f"{path.stem}.partial{path.suffix}"
