"""The output folder, before anything is written to it."""

from __future__ import annotations

import fnmatch
import os
import tempfile

from daskbatch.errors import UsageError
from daskbatch.spec import RunSpec

__all__ = ["STATE_FOLDER", "check_output"]

STATE_FOLDER = ".daskbatch"
"""Where a run keeps its plan, ledger and segments."""
OTHER_TRACES = ("run_summary.json", "failed_items.jsonl")
"""What else tells that a run wrote here; a second run would overwrite or append to it."""


def check_output(spec: RunSpec) -> None:
    """Make the output folder, and see that it can be written and holds no other run.

    Raises
    ------
    UsageError
        Where it cannot, or where the next run would read these results as its input.
    """
    _check_outside_input(spec)
    _check_unused(spec)
    _check_writable(spec.output)


def _check_writable(output: str) -> None:
    try:
        os.makedirs(output, exist_ok=True)
        # Tried and not asked for: access() knows nothing of quotas, full disks and read-only mounts,
        # and says yes to root.
        with tempfile.TemporaryFile(dir=output, prefix=".daskbatch-write-") as file:
            file.write(b"daskbatch")
            file.flush()
    except FileExistsError:
        raise UsageError(f"output must be a folder, but {output!r} is a file. Name another.") from None
    except OSError as error:
        raise UsageError(
            f"The output folder {output!r} cannot be written: {error.strerror or error}."
            " Choose a folder that you may write to."
        ) from None


def _check_unused(spec: RunSpec) -> None:
    names = (STATE_FOLDER, *OTHER_TRACES, spec.append_row_file_name)
    for name in names:
        if os.path.lexists(os.path.join(spec.output, name)):
            raise UsageError(
                f"The output folder {spec.output!r} already holds a run's {name!r}, which would be"
                " overwritten. Choose a new output folder, or move or delete this one first."
            )


def _check_outside_input(spec: RunSpec) -> None:
    output = os.path.realpath(spec.output)
    for path in spec.input.paths:
        if os.path.isdir(path):
            inside = os.path.commonpath([os.path.realpath(path), output]) == os.path.realpath(path)
            told = f"lies inside the input folder {path!r}"
        else:
            inside = _takes_results(path, spec)
            told = f"is taken by the input {path!r}"
        if inside:
            raise UsageError(
                f"The output folder {spec.output!r} {told}, so another run would read these results"
                f" as its input. Choose an output folder outside of it, or name the input more"
                f" narrowly, such as by {os.path.join(_fixed_part(path), '*.csv')!r}."
            )


def _takes_results(pattern: str, spec: RunSpec) -> bool:
    """Whether a glob matches the output folder, one above it, or the result in it."""
    result = os.path.join(spec.output, spec.append_row_file_name)
    fixed = _fixed_part(pattern)
    while len(result) > len(fixed):
        if result != pattern and _matches(result.split(os.sep), pattern.split(os.sep)):
            return True
        result = os.path.dirname(result)
    return False


def _fixed_part(path: str) -> str:
    """The folder above the first wildcard of a glob; a folder's own path."""
    while any(mark in path for mark in "*?["):
        path = os.path.dirname(path)
    return path


def _matches(path: list[str], pattern: list[str]) -> bool:
    """Whether the parts of a path match those of a glob, where ``**`` is any number of parts."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return _matches(path, pattern[1:]) or bool(path and _matches(path[1:], pattern))
    if not path or not fnmatch.fnmatchcase(path[0], pattern[0]):
        return False
    # A leading dot is matched by a dot alone, as in glob.
    if path[0].startswith(".") and not pattern[0].startswith("."):
        return False
    return _matches(path[1:], pattern[1:])
