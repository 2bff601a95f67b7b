"""What a pipeline's run and a step's run have in common: both are seen by their folders alone, and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from daskbatch.api.run_files import RunFiles

__all__ = ["SubmittedRun"]

_LOOK_EVERY = 0.2  # seconds


class SubmittedRun(RunFiles):
    """A run that others work on."""

    @property
    def run_id(self) -> str:
        """The same as `id`."""
        return self.id

    @property
    def status(self) -> str:
        """The same as `get_status()`."""
        return self.get_status()

    def get_status(self) -> str:
        """How it is, in Azure's words."""
        raise NotImplementedError

    def get_details(self) -> dict[str, Any]:
        """All that is known of it, as JSON values."""
        raise NotImplementedError

    @property
    def tags(self) -> dict[str, str]:
        """Names and values: only whole runs have any."""
        return {}

    def get_tags(self) -> dict[str, str]:
        """The same as `tags`."""
        return self.tags

    @property
    def properties(self) -> dict[str, str]:
        """What daskbatch itself notes of it."""
        return dict(self.get_details()["properties"])

    def get_properties(self) -> dict[str, str]:
        """The same as `properties`."""
        return self.properties

    def _wait(self, is_over: Callable[[], bool], timeout_seconds: float | None) -> None:
        """Look until it is over.

        Raises
        ------
        TimeoutError
            It is not in time.
        """
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not is_over():
            if until is not None and time.monotonic() > until:
                raise TimeoutError(
                    f"The run {self.id} is {self.get_status()} after {timeout_seconds:g} s. It goes on: wait again, or"
                    " end it with cancel()."
                )
            time.sleep(_LOOK_EVERY)
