"""The output folder, before anything is written to it."""

from __future__ import annotations

import fnmatch
import os
import secrets
import tempfile
from collections.abc import Callable

from daskbatch.errors import UsageError
from daskbatch.layout import FAILED_ITEMS, LOGS, RUN_SUMMARY, STATE_FOLDER
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.urls import is_remote, join, split
from daskbatch.spec import RunSpec

__all__ = ["check_output", "check_unused", "fixed_part", "taken_as_input"]


def check_output(spec: RunSpec) -> None:
    """Make the output folder, and see that it can be written and nothing in it leads elsewhere.

    Raises
    ------
    UsageError
        Where it cannot, or where the next run would read these results as its input.
    """
    _check_outside_input(spec, "output", spec.output, spec.append_row_file_name)
    if is_remote(spec.output):
        _check_store("output", spec.output, spec.output_storage_options)
    else:
        _check_writable("output", spec.output)
        _check_links(spec)
    if spec.script_output is None:
        return
    _check_outside_input(spec, "script_output", spec.script_output, "")
    if is_remote(spec.script_output):
        _check_store("script_output", spec.script_output, spec.output_storage_options)
    else:
        _check_writable("script_output", spec.script_output)


def _check_store(option: str, url: str, options: StorageOptions) -> None:
    """An object can be put below the URL, and deleted again. Tried and not asked for, as with folders."""
    from daskbatch.remote.errors import StorageError
    from daskbatch.remote.put import delete, put_bytes
    from daskbatch.remote.retrying import AT_START

    if any(mark in split(url)[1] for mark in "*?["):
        raise UsageError(f"{option} must be a folder in a store, got the glob {url!r}. Next: name a folder.")
    mark = join(url, STATE_FOLDER, f"write-{secrets.token_hex(4)}")
    try:
        put_bytes(mark, b"daskbatch", options, AT_START)
        delete(mark, options, AT_START)
    except StorageError as error:
        raise UsageError(f"The {option} {url!r} cannot be written: {error}") from error


def _check_writable(option: str, output: str) -> None:
    try:
        os.makedirs(output, exist_ok=True)
        # Tried and not asked for: access() knows nothing of quotas, full disks and read-only mounts,
        # and says yes to root.
        with tempfile.TemporaryFile(dir=output, prefix=".daskbatch-write-") as file:
            file.write(b"daskbatch")
            file.flush()
    except FileExistsError:
        raise UsageError(f"{option} must be a folder, but {output!r} is a file. Name another.") from None
    except OSError as error:
        raise UsageError(
            f"The {option} folder {output!r} cannot be written: {error.strerror or error}."
            " Choose a folder that you may write to."
        ) from None


def check_unused(place: str, result: str, holds: Callable[[str], bool]) -> None:
    """See that nothing in the output folder would be overwritten, where it holds no run that could be gone on with.

    Parameters
    ----------
    place
        The output folder.
    result
        Name of the combined file.
    holds
        Whether there is a file of a name.

    Raises
    ------
    UsageError
    """
    for name in (RUN_SUMMARY, FAILED_ITEMS, result):
        if holds(name):
            raise UsageError(
                f"The output folder {place!r} already holds {name!r}, which would be overwritten, and no run to"
                " go on with. Choose a new output folder, move or delete that file, or add --fresh (fresh=True)."
            )


def _check_links(spec: RunSpec) -> None:
    """Who may write to the folder must not be able to have this user write elsewhere."""
    for name in (STATE_FOLDER, LOGS, RUN_SUMMARY, FAILED_ITEMS):
        path = os.path.join(spec.output, name)
        if os.path.islink(path):
            raise UsageError(
                f"{path!r} is a symbolic link, and a run would write through it to {os.readlink(path)!r}. Remove the"
                " link, or choose another output folder."
            )
    for folder, folders, names in os.walk(os.path.join(spec.output, LOGS)):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                raise UsageError(
                    f"{path!r} is a symbolic link, and logs would be written through it. Remove the link, or choose"
                    " another output folder."
                )
    state = os.path.join(spec.output, STATE_FOLDER)
    if os.path.lexists(state) and not os.path.isdir(state):
        raise UsageError(f"{state!r} is no folder. Remove it, or choose another output folder.")
    if os.path.isdir(state) and os.stat(state).st_uid != os.geteuid():
        raise UsageError(
            f"{state!r} belongs to another user, whose code a run that goes on there would trust. Choose another output"
            " folder."
        )


def _check_outside_input(spec: RunSpec, option: str, folder: str, name: str) -> None:
    """A file of that name in the folder must be no input; empty: the folder must be none."""
    for path in spec.input.paths:
        if is_remote(path) != is_remote(folder):
            continue
        told = taken_as_input(path, folder, name)
        if told is not None:
            raise UsageError(
                f"The {option} folder {folder!r} {told}, so another run would read these results"
                f" as its input. Choose an output folder outside of it, or name the input more"
                f" narrowly, such as by {os.path.join(fixed_part(path), '*.csv')!r}."
            )


def taken_as_input(path: str, folder: str, name: str) -> str | None:
    """Whether an input takes what is in a folder.

    Parameters
    ----------
    path
        Of the input: a file, folder or glob, absolute.
    folder
        Absolute.
    name
        Of a file in it. Empty: of the folder itself.

    Returns
    -------
    str or None
        How, for a message that names the folder; None where it does not.
    """
    if is_remote(path):
        inside = f"{folder.rstrip('/')}/".startswith(f"{path.rstrip('/')}/")
        if inside:
            return f"lies inside the input {path!r}"
    if os.path.isdir(path):
        real = os.path.realpath(path)
        inside = os.path.commonpath([real, os.path.realpath(folder)]) == real
        return f"lies inside the input folder {path!r}" if inside else None
    taken = _takes_results(path, os.path.join(folder, name).rstrip(os.sep))
    return f"is taken by the input {path!r}" if taken else None


def _takes_results(pattern: str, result: str) -> bool:
    """Whether a glob matches a result, or a folder above it."""
    fixed = fixed_part(pattern)
    while len(result) > len(fixed):
        if result != pattern and _matches(result.split(os.sep), pattern.split(os.sep)):
            return True
        result = os.path.dirname(result)
    return False


def fixed_part(path: str) -> str:
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
