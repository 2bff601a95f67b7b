"""A path in a datastore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daskbatch.api.datastore import Datastore
    from daskbatch.remote.options import StorageOptions

__all__ = ["DataPath"]


@dataclass(frozen=True, slots=True)
class DataPath:
    """What ``datastore.path("mnist/")`` gives."""

    datastore: Datastore
    relative: str
    """Below the datastore's root, with ``/`` between its parts and none around them; ``""`` is the root."""

    @property
    def path_on_datastore(self) -> str:
        """The same as `relative`, as Azure calls it."""
        return self.relative

    def local_path(self) -> str:
        """The absolute path; see `Datastore.local_path`."""
        return self.datastore.local_path(self.relative)

    def place(self) -> str:
        """The absolute path, or the URL; see `Datastore.place`."""
        return self.datastore.place(self.relative)

    def storage_options(self) -> StorageOptions:
        """How the store of `place` is reached; empty for a folder."""
        return self.datastore.options_of(self.place())
