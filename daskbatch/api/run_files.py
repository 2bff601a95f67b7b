"""Files of a run: listed, and copied."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from daskbatch.api import transfer
from daskbatch.errors import UsageError
from daskbatch.layout import LOGS
from daskbatch.options.values import nearest

__all__ = ["RunFiles"]


class RunFiles:
    """What a run and a step's run have in common."""

    id: str

    @property
    def folder(self) -> Path:
        """Where all that is known of it lies."""
        raise NotImplementedError

    def get_file_names(self) -> list[str]:
        """Paths of its files, as seen from its folder; what is private is left out."""
        found = transfer.below(self.folder)
        return [name for name in found if not any(part.startswith(".") for part in name.split("/"))]

    def download_file(
        self, name: str, output_file_path: str | os.PathLike[str] | None = None, _validate_checksum: bool = False
    ) -> None:
        """Copy one file.

        Parameters
        ----------
        name : str
            As `get_file_names` tells it.
        output_file_path : path, optional
            By default the file's own name, in the current folder.

        Raises
        ------
        UsageError
            There is none, or it cannot be written.
        """
        known = self.get_file_names()
        if name not in known:
            raise UsageError(
                f"The run {self.id} has no file {name!r}.{nearest(name, known)} get_file_names() lists them."
            )
        target = Path(transfer.local("output_file_path", output_file_path or os.path.basename(name)))
        if target.is_dir():
            target /= os.path.basename(name)
        transfer.copy([(self.folder / name, target)], True, False, "Downloading")

    def download_files(
        self, prefix: str | None = None, output_directory: str | os.PathLike[str] | None = None, **_: Any
    ) -> None:
        """Copy files, under the paths that they have.

        Parameters
        ----------
        prefix : str, optional
            What their paths begin with; by default all are copied.
        output_directory : path, optional
            By default the current folder.
        """
        target = Path(transfer.local("output_directory", output_directory or "."))
        found = [name for name in self.get_file_names() if name.startswith(prefix or "")]
        transfer.copy([(self.folder / name, target / name) for name in found], True, False, "Downloading")

    def get_all_logs(self, destination: str | os.PathLike[str] | None = None) -> list[str]:
        """Copy all logs into a folder.

        Parameters
        ----------
        destination : path, optional
            By default the run's id, in the current folder.

        Returns
        -------
        list of str
            Paths of the copies.
        """
        target = Path(transfer.local("destination", destination or self.id))
        found = self._logs()
        transfer.copy([(path, target / name) for name, path in found.items()], True, False, "Downloading")
        return [str(target / name) for name in found]

    def _logs(self) -> dict[str, Path]:
        """Logs by the paths that their copies get."""
        found = [name for name in self.get_file_names() if name.endswith(".log") or LOGS in name.split("/")]
        return {name: self.folder / name for name in found}
