"""Tags of a run: those of its submission, and those that were given since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from daskbatch.api.documents import read_document, write_document
from daskbatch.errors import UsageError

__all__ = ["RunTags"]


class RunTags:
    """What a run's tags are, and how they are changed. Of two processes that change them at once, one is heard."""

    _document: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where all that is known of it lies."""
        raise NotImplementedError

    @property
    def tags(self) -> dict[str, str]:
        """Names and values; a value may be empty."""
        since = read_document(self._tags)
        return dict(self._document["tags"] if since is None else since)

    @property
    def _tags(self) -> Path:
        return self.folder / "tags.json"

    def tag(self, key: str, value: str | None = None) -> None:
        """Give it a tag, or a tag another value.

        Raises
        ------
        UsageError
            The name is no text, or the folder cannot be written.
        """
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, str | None]) -> None:
        """Give it tags; others stay.

        Raises
        ------
        UsageError
            As `tag`.
        """
        if not isinstance(tags, Mapping) or not all(isinstance(name, str) for name in tags):
            raise UsageError(f"tags must be a mapping of names to values, such as {{'color': 'red'}}, got {tags!r}.")
        given = {name: "" if value is None else str(value) for name, value in tags.items()}
        write_document(self._tags, {**self.tags, **given}, overwrite=True)

    def remove_tags(self, tags: Iterable[str]) -> None:
        """Take tags away, by their names; those that it does not have count for nothing."""
        gone = {tags} if isinstance(tags, str) else set(tags)
        write_document(
            self._tags, {name: value for name, value in self.tags.items() if name not in gone}, overwrite=True
        )
