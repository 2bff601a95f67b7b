"""The output folder of a run: where its state lies, and its private part."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from daskbatch.layout import FAILED_ITEMS, LOGS, RUN_SUMMARY, STATE_FOLDER
from daskbatch.options.source import copy_source

__all__ = ["RunFolder", "partial_name"]

_DISCARDED = ".discarded"


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
    def record(self) -> Path:
        """What the run is; there once planning is done."""
        return self.state / "run.json"

    def ledger(self, epoch: int) -> Path:
        """What counts, by that engine's word. Who makes the file owns the run from then on."""
        return self.state / f"ledger-{epoch}.jsonl"

    def heartbeat(self, epoch: int) -> Path:
        """That engine's sign of life."""
        return self.state / f"engine-{epoch}.json"

    @property
    def cancel(self) -> Path:
        """Asks the engine for an end: it looks each second."""
        return self.state / "cancel"

    def latest_epoch(self) -> int:
        """The number of the last epoch that was claimed, 0 for none."""
        number = 0
        while self.ledger(number + 1).exists():
            number += 1
        return number

    @property
    def segments(self) -> Path:
        """What the slots wrote."""
        return self.state / "segments"

    @property
    def models(self) -> Path:
        """Which versions of registered models the run uses."""
        return self.state / "models"

    @property
    def logs(self) -> Path:
        """For people."""
        return self.output / LOGS

    @property
    def processed(self) -> Path:
        """One line for each mini-batch, after the run."""
        return self.logs / "sys" / "job_report" / "processed_mini-batches.csv"

    def create(self) -> None:
        """Make the private folders that are not there, readable by this user alone."""
        for folder in (self.state, self.segments):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.plan.touch(mode=0o600)

    def discard(self) -> None:
        """Take a run away in one step, so that no engine can half find it; then delete it. Results stay."""
        if self.state.exists():
            self.state.rename(self.output / f"{STATE_FOLDER}.{secrets.token_hex(4)}{_DISCARDED}")
        self.sweep()
        for name in (RUN_SUMMARY, FAILED_ITEMS):
            (self.output / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete what killed engines have left: half-written files, runs that were being discarded."""
        for path in self.output.glob(f"{STATE_FOLDER}.*{_DISCARDED}"):
            shutil.rmtree(path, ignore_errors=True)
        for folder in (self.state, self.segments):
            for path in folder.glob("*.tmp"):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def drop_segments(self) -> None:
        """The combined file is published: what it was made of goes. In one step, so that nobody finds half of it."""
        away = self.state / f"segments-{secrets.token_hex(4)}.tmp"
        self.segments.rename(away)
        shutil.rmtree(away, ignore_errors=True)

    def snapshot(self, source: str, script: str | None = None) -> Path:
        """Copy a source directory, once for each content.

        Parameters
        ----------
        source : str
        script : str, optional
            A file that has to be in the copy if it lies there.

        Returns
        -------
        Path
            The copy; workers run that, whatever happens to the original meanwhile.

        Raises
        ------
        EntryScriptError
            It is too large to be source code, leaves the script out, or cannot be read.
        """
        # Only a whole copy gets the name, which tells of the bytes copied: the run may be killed, the user may save.
        part = self.state / f"source-{secrets.token_hex(4)}.tmp"
        try:
            target = self.state / f"source-{copy_source(source, part, self.output, script)[:16]}"
            if not target.exists():
                part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return target


def partial_name(name: str) -> str:
    """``predictions.csv`` to ``predictions.partial.csv``."""
    path = Path(name)
    return f"{path.stem}.partial{path.suffix}"
