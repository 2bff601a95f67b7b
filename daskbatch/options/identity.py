"""What makes a run this run: so that the same command again goes on with it, reuses it, or is told what differs."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import daskbatch
from daskbatch.errors import EntryScriptError
from daskbatch.layout import MODELS_VARIABLE
from daskbatch.options.named_paths import side_inputs
from daskbatch.options.public import public_options
from daskbatch.options.sealed import changed_variables, seal
from daskbatch.options.source import modules_beside, source_digest
from daskbatch.options.values import mini_batch_size
from daskbatch.spec import DEFAULT_BYTES, DEFAULT_FILES, EntryPoint, RunSpec
from daskbatch.types import MiniBatchSize

__all__ = ["GROUPS", "Difference", "Group", "differences", "identity_of"]


class Group(Enum):
    """What a change of an option means to a run that is there already."""

    RESULT = "changes results: another run"
    RULES = "decides which runs complete: free for one that goes on, not for one that is complete"
    FREE = "changes how and where it runs, not what comes out"


GROUPS: Mapping[str, Group] = {
    "daskbatch": Group.RESULT,
    "entry": Group.RESULT,
    "source_directory": Group.RESULT,
    "inputs": Group.RESULT,
    "input_format": Group.RESULT,
    "mini_batch_size": Group.RESULT,
    "separator": Group.RESULT,
    "header": Group.RESULT,
    "encoding": Group.RESULT,
    "support_multi_line": Group.RESULT,
    "dtype": Group.RESULT,
    "include_path": Group.RESULT,
    "columns": Group.RESULT,
    "partition_format": Group.RESULT,
    "partition_keys": Group.RESULT,
    "datasets": Group.RESULT,
    "script_output": Group.RESULT,
    "output_action": Group.RESULT,
    "append_row_file_name": Group.RESULT,
    "arguments": Group.RESULT,
    "fetched": Group.RESULT,
    "side_inputs": Group.RESULT,
    "environment_variables": Group.RESULT,
    "python": Group.RESULT,
    "command_prefix": Group.RESULT,
    "tensorflow1": Group.RESULT,
    "error_threshold": Group.RULES,
    "allowed_failed_count": Group.RULES,
    "allowed_failed_percent": Group.RULES,
    "run_max_try": Group.RULES,
    "run_invocation_timeout": Group.RULES,
    "init_timeout": Group.RULES,
    "read_timeout": Group.RULES,
    "shutdown_timeout": Group.RULES,
    "runner_memory_limit": Group.RULES,
    "storage_options": Group.FREE,
    "output_storage_options": Group.FREE,
    "task_seconds": Group.FREE,
    "node_count": Group.FREE,
    "process_count_per_node": Group.FREE,
    "compute": Group.FREE,
    "min_nodes": Group.FREE,
    "min_nodes_timeout": Group.FREE,
    "job_replacements": Group.FREE,
    "scheduler": Group.FREE,
    "insecure": Group.FREE,
    "tls_ca_file": Group.FREE,
    "tls_cert": Group.FREE,
    "tls_key": Group.FREE,
    "dashboard": Group.FREE,
    "logging_level": Group.FREE,
    "output": Group.FREE,
    "folder": Group.RESULT,
}
"""Every option, in the order in which differences are told. ``daskbatch`` is this package's version;
``side_inputs`` are the files under the paths that the script is told as such."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was."""

    name: str
    """The option, as users write it in Python."""
    text: str
    """For people, such as ``"mini_batch_size was 10, now 5"``."""

    def __str__(self) -> str:
        return self.text


def identity_of(spec: RunSpec, inputs: str) -> dict[str, Any]:
    """All that makes a run what it is, as JSON values; no value of an environment variable.

    Takes some 50 ms for each environment variable.

    Parameters
    ----------
    spec : RunSpec
    inputs : str
        A digest of the input: of its files, or of a Dask dataframe's graph.

    Raises
    ------
    EntryScriptError
        The entry script or the source directory cannot be read.
    """
    return _without_variables(spec, inputs) | {"environment_variables": seal(_variables(spec))}


def differences(stored: Mapping[str, Any], spec: RunSpec, inputs: str, *, reuse: bool) -> list[Difference]:
    """What makes this another run than the stored one; nothing where it is the same.

    Parameters
    ----------
    stored : mapping
        What `identity_of` gave, then or in another version of daskbatch.
    spec, inputs
        Of the run as it is now.
    reuse : bool
        Whether the result of a completed run shall serve: then the rules by which it completed count too.

    Raises
    ------
    EntryScriptError
        The entry script or the source directory cannot be read.
    """
    now = _without_variables(spec, inputs)
    found = []
    for name, group in GROUPS.items():
        if group is Group.FREE or (group is Group.RULES and not reuse):
            continue
        if name == "environment_variables":
            texts = changed_variables(stored.get(name, {}), _variables(spec))
            found += [Difference(name, f"{name}: {text}") for text in texts]
        elif (name in stored or name == "daskbatch") and not _same(name, stored.get(name), now[name], spec):
            found.append(Difference(name, _told(name, stored.get(name), now[name])))
    return found


def _without_variables(spec: RunSpec, inputs: str) -> dict[str, Any]:
    options = public_options(spec)
    kept = {name: options[name] for name, group in GROUPS.items() if name in options and group is not Group.FREE}
    source = spec.entry.source_directory
    return kept | {
        "daskbatch": daskbatch.__version__,
        "entry": _entry(spec.entry),
        "source_directory": None if source is None else source_digest(source, spec.output),
        "inputs": inputs,
        "side_inputs": side_inputs(spec),
    }


def _variables(spec: RunSpec) -> tuple[tuple[str, str], ...]:
    """Those that count. Which models the run has used is noted by itself."""
    return tuple((name, value) for name, value in spec.environment_variables if name != MODELS_VARIABLE)


def _entry(entry: EntryPoint) -> dict[str, Any]:
    if entry.script is None:
        # The digest of an object is made of its bytecode, which is another in each minor version.
        python = ".".join(platform.python_version_tuple()[:2])
        return {"name": entry.name, "digest": entry.digest, "python": python}
    try:
        with open(entry.script, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        # Those in a source directory count as a part of it.
        modules = modules_beside(entry.script) if entry.source_directory is None else {}
        return {"name": entry.name, "digest": digest, "modules": modules}
    except OSError as error:
        raise EntryScriptError(f"The entry script {entry.script!r} cannot be read: {error.strerror}.") from error


def _same(name: str, old: Any, new: Any, spec: RunSpec) -> bool:
    if name == "entry":
        return bool(old["digest"] == new["digest"] and old.get("modules") == new.get("modules"))
    if name == "fetched":  # how a store is reached may change
        return [one[:3] for one in old] == [one[:3] for one in new]
    if name == "folder":
        return old == new or not _files_meant(spec.arguments, (old, new))
    if name == "mini_batch_size":
        return _same_size(old, new, spec)
    if name == "separator":
        default = {"csv": ",", "tsv": "\t"}.get(spec.input.input_format)
        return bool((old or default) == (new or default))
    return bool(old == new)


def _files_meant(arguments: tuple[str, ...], folders: tuple[str, ...]) -> bool:
    """Whether a relative path among the arguments is a file in one of the folders: it would be another in the other."""
    paths = {part for text in arguments for part in (text, text.partition("=")[2]) if part and not os.path.isabs(part)}
    return any(os.path.lexists(os.path.join(folder, path)) for folder in folders for path in paths)


def _same_size(old: str | None, new: str | None, spec: RunSpec) -> bool:
    """Whether both mean the same for every kind of input that this may be: only planning tells what ``auto`` is."""
    for is_table in _may_be_tables(spec):
        sizes = {_meant(text, is_table) for text in (old, new)}
        # One that does not fit this kind of input is refused by planning, so there the input is of the other kind.
        if len(sizes) == 2 and None not in sizes:
            return False
    return True


def _may_be_tables(spec: RunSpec) -> Iterator[bool]:
    given = spec.input
    if given.paths and given.input_format in ("auto", "files"):
        yield False
    if not given.paths or given.input_format != "files":
        yield True


def _meant(text: str | None, is_table: bool) -> MiniBatchSize | None:
    """The size in the kind of its input, None where it does not fit."""
    size = None if text is None else mini_batch_size(text)
    if not is_table:
        size = size or DEFAULT_FILES
        return size if size.kind == "files" else None
    size = size or DEFAULT_BYTES
    return MiniBatchSize("bytes", size.value) if size.kind == "files" else size


def _told(name: str, old: Any, new: Any) -> str:
    if name == "entry":
        return _told_entry(old, new)
    if name == "inputs":
        return "the input has changed"
    if name == "side_inputs":
        changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return f"the side input {', '.join(changed)} has changed"
    if name == "source_directory":
        if old is None or new is None:
            return (
                f"source_directory was {'not ' if old is None else ''}given, now it is{' not' if new is None else ''}"
            )
        return "source_directory: its content has changed"
    if name == "folder":
        return f"the working directory was {old}, now {new}, and an argument of the script names a file there"
    if name == "arguments":
        name = "arguments (on the command line, what follows '--')"
    return f"{name} was {_shown(old)}, now {_shown(new)}"


def _told_entry(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old["name"] != new["name"]:
        return f"the entry was {old['name']}, now {new['name']}, which is not the same code"
    if old["digest"] == new["digest"]:
        modules = {**old.get("modules", {}), **new.get("modules", {})}
        changed = [name for name in modules if old["modules"].get(name) != new["modules"].get(name)]
        return f"{', '.join(changed)} beside the entry script {new['name']} changed"
    if "python" not in new:
        return f"the entry script {new['name']} has changed"
    versions = old.get("python"), new["python"]
    why = (
        ""
        if versions[0] == versions[1]
        else f", or was compiled otherwise: Python was {versions[0]}, now {versions[1]}"
    )
    return f"the code of {new['name']}, or something that it uses, has changed{why}"


def _shown(value: object) -> str:
    if value is None:
        return "not given"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return value if isinstance(value, str) and re.fullmatch(r"[\w.+-]+", value) else repr(value)
