"""The options of a run, stored and given again: so that a run can be repeated without its command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daskbatch.errors import UsageError
from daskbatch.options.compute import DEFINED, parse_compute
from daskbatch.options.names import RunOptions
from daskbatch.options.public import public_options
from daskbatch.spec import RunSpec

__all__ = ["at_another_place", "options_from", "stored_options"]

_SCHEDULER = ("scheduler", "insecure", "tls_ca_file", "tls_cert", "tls_key")

_NEXT = "Next: repeat the daskbatch.run(...) call that made it, with the same output."


def stored_options(spec: RunSpec) -> dict[str, Any]:
    """A run's options as JSON values, for `options_from`; no value of an environment variable."""
    return public_options(spec) | {"entry_is_script": spec.entry.script is not None}


def options_from(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `daskbatch.run` that make an equal run again, `entry`, `inputs` and `output` too.

    Left out are environment variables, whose values are stored nowhere, and what is no option: the working directory
    of the caller is ``stored["folder"]``.

    Raises
    ------
    UsageError
        The entry is no script, or the input no files: they live in the program that made them.
    """
    if not stored["entry_is_script"]:
        raise UsageError(
            f"The entry of the run in {stored['output']!r} is the Python object {stored['entry']}, which no file holds."
            f" {_NEXT}"
        )
    if not stored["inputs"]:
        raise UsageError(
            f"The input of the run in {stored['output']!r} is a Dask dataframe, which no file holds. {_NEXT}"
        )
    names = {"entry", "inputs", "output"} | (RunOptions.__annotations__.keys() - {"environment_variables"})
    return {name: value for name, value in stored.items() if name in names}


def at_another_place(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Stored options, without those that a new ``compute`` or ``scheduler`` among the given ones replaces.

    Of the same place, what the command once said is kept, unless the definition says otherwise. Of another one,
    nothing is: that there were 8 nodes means nothing there.

    Parameters
    ----------
    stored : mapping
        Of `options_from`.
    given : mapping
        With a definition in the place of a name or file.
    """
    if given.get("compute") is None and given.get("scheduler") is None:
        return dict(stored)
    made, defined = parse_compute(given.get("compute") or "local")
    before, _ = parse_compute(stored["compute"])
    on_dask = given.get("scheduler") is not None or "scheduler" in defined
    same = (made.type, made.brings_workers and made.name) == (before.type, before.brings_workers and before.name)
    gone = {"compute", *defined}
    if not same or on_dask != (stored["scheduler"] is not None):
        gone |= {*DEFINED, *_SCHEDULER}
    return {name: value for name, value in stored.items() if name not in gone}
