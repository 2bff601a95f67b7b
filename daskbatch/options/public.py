"""The options of a run as others may see them."""

from __future__ import annotations

from dataclasses import fields
from itertools import islice
from typing import Any

from daskbatch.options.values import mini_batch_size_text
from daskbatch.spec import InputSpec, RunSpec

__all__ = ["public_options"]


def public_options(spec: RunSpec) -> dict[str, Any]:
    """The options of a run under their public names, as JSON values: for events and the summary.

    Values of environment variables are left out, as people put secrets there.
    """
    own = {field.name: getattr(spec, field.name) for field in fields(RunSpec)}
    entry, given = own.pop("entry"), own.pop("input")
    size = given.mini_batch_size
    return {
        "entry": entry.name,
        "source_directory": entry.source_directory,
        "inputs": _public_paths(given),
        "datasets": [name for name, _ in given.datasets],
        "input_format": given.input_format,
        "mini_batch_size": None if size is None else mini_batch_size_text(size),
        "separator": given.separator,
        "header": "first_row" if given.header else "none",
        "encoding": given.encoding,
        "support_multi_line": given.support_multi_line,
        "dtype": dict(given.dtype),
        "include_path": given.include_path,
        "columns": list(given.columns) or None,
        "partition_format": given.partition_format,
        "partition_keys": list(given.partition_keys) or None,
        "storage_options": dict(given.storage_options),
        **own,
        "compute": spec.compute.public,
        "output_storage_options": dict(spec.output_storage_options),
        "arguments": list(spec.arguments),
        "fetched": [[url, kind, token, dict(options)] for url, kind, token, options in spec.fetched],
        "command_prefix": list(spec.command_prefix),
        "environment_variables": [name for name, _ in spec.environment_variables],
    }


def _public_paths(given: InputSpec) -> list[str] | dict[str, list[str]]:
    """Paths, or those of each dataset that has a name; nothing for a Dask dataframe."""
    if not (given.paths and given.datasets):
        return list(given.paths)
    paths = iter(given.paths)
    return {name: list(islice(paths, count)) for name, count in given.datasets}
