"""``python -m daskbatch.azureml [--first] SCRIPT [ARGUMENT ...]``: run a script that was written for Azure."""

from __future__ import annotations

import os
import runpy
import sys

from daskbatch.azureml.switch import enable
from daskbatch.errors import UsageError

_USAGE = """Usage: python -m daskbatch.azureml [--first] SCRIPT [ARGUMENT ...]

Run SCRIPT as python does, with azureml and azureml_user meaning daskbatch.
--first: do so where the Azure ML SDK is installed, too."""

_WRONG = 2  # exit code, as of daskbatch's other commands: nothing was started


def main() -> None:
    """Run the script of the command line."""
    arguments = sys.argv[1:]
    first = arguments[:1] == ["--first"]
    script = arguments[first:]
    if script[:1] in (["-h"], ["--help"]):
        print(_USAGE)
        return
    if not script or not os.path.isfile(script[0]):
        got = f"There is no file {script[0]!r}." if script else "No script was given."
        print(f"{got}\n{_USAGE}", file=sys.stderr)
        sys.exit(_WRONG)
    try:
        enable(first=first)
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(_WRONG)
    sys.argv[:] = script
    if not sys.flags.safe_path:  # -m puts the current folder there, a script its own
        sys.path[0] = os.path.dirname(os.path.realpath(script[0]))
    runpy.run_path(script[0], run_name="__main__")


if __name__ == "__main__":
    main()
