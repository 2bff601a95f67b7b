"""Which folders a run's processes need to see: for a command that shows them some folders only."""

from __future__ import annotations

import os

from daskbatch.layout import SIDE_INPUT_VARIABLE, WORKSPACE_VARIABLE
from daskbatch.options.output import fixed_part
from daskbatch.spec import RunSpec

__all__ = ["needed_folders"]


def needed_folders(spec: RunSpec, source: str | None) -> tuple[str, ...]:
    """Folders of the input, the script, the outputs, the workspace, and of paths among the script's arguments.

    Parameters
    ----------
    spec : RunSpec
    source : str or None
        The copy of the source directory.

    Returns
    -------
    tuple of str
        Absolute paths.
    """
    paths = [spec.output, spec.script_folder, spec.folder]
    paths += [fixed_part(path) for path in spec.input.paths]
    paths += [path for path in (source, spec.entry.script) if path is not None]
    own = (SIDE_INPUT_VARIABLE, WORKSPACE_VARIABLE)
    paths += [path for name, path in spec.environment_variables if name.startswith(own)]
    paths += [text.partition("=")[2] if text.startswith("-") else text for text in spec.arguments]
    known = [path for path in paths if os.path.isabs(path) and os.path.lexists(path)]
    return tuple(sorted({path if os.path.isdir(path) else os.path.dirname(path) for path in known}))
