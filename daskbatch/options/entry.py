"""The user's ``run``: a script's path is checked, an object is pickled."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import os
import sys
from types import ModuleType
from typing import Any

from daskbatch.errors import EntryScriptError
from daskbatch.options.values import local_path
from daskbatch.spec import EntryPoint

__all__ = ["entry_point"]

ACCEPTED = "the path of a Python script, a function, or a class or object with a run() method"


def entry_point(
    entry: object, source_directory: object = None, python: tuple[int, int, int] | None = None
) -> EntryPoint:
    """Where ``run`` is, checked as far as that can be without running the user's code.

    Parameters
    ----------
    entry
        Path of the entry script, or a function, class or object with ``run()``.
    source_directory : path, optional
    python : tuple, optional
        Version of the interpreter that runs it, where that is another than this one.

    Raises
    ------
    EntryScriptError
        Where the script does not exist or cannot be used, or the object cannot be sent.
    """
    folder = _source_folder(source_directory)
    if isinstance(entry, (str, os.PathLike)):
        script = _script_path(entry, folder)
        if python is None or python[:2] <= sys.version_info[:2]:  # this one cannot parse what is newer
            _check_script(script)
        return EntryPoint(script=script, source_directory=folder, pickled=None, name=script)
    name = _name(entry)
    _check_object(entry, name)
    _check_travels(name, python)
    pickled = _pickle(entry, name)
    return EntryPoint(script=None, source_directory=folder, pickled=pickled, name=name, digest=_digest(entry, pickled))


def _source_folder(source_directory: object) -> str | None:
    if source_directory is None:
        return None
    folder = local_path("source_directory", source_directory)
    if not os.path.isdir(folder):
        kind = "is a file" if os.path.exists(folder) else "does not exist"
        raise EntryScriptError(
            f"source_directory must be a folder, but {folder!r} {kind}."
            " Give the folder that holds the entry script and the modules it imports."
        )
    return folder


def _script_path(entry: str | os.PathLike[str], folder: str | None) -> str:
    """Absolute path of the script, which is relative to the source folder where there is one."""
    given = os.path.expanduser(os.fspath(entry))
    script = local_path("entry", given if folder is None else os.path.join(folder, given))
    if folder is not None and os.path.commonpath([folder, script]) != folder:
        raise EntryScriptError(
            f"entry must lie inside source_directory {folder!r}, which is what the workers get,"
            f" got {script!r}. Move the script, or name the folder above both."
        )
    if os.path.isfile(script):
        if script.endswith(".ipynb"):
            raise EntryScriptError(
                f"entry must be {ACCEPTED}, got the notebook {script!r}."
                " Inside the notebook, pass the function itself to daskbatch.run()."
            )
        return script
    if os.path.isdir(script):
        raise EntryScriptError(
            f"entry must be {ACCEPTED}, got the folder {script!r}."
            " Name the script, and give the folder as source_directory."
        )
    raise EntryScriptError(f"The entry script {script!r} does not exist.{_near(script, given, folder)}")


def _near(script: str, given: str, folder: str | None) -> str:
    """The likeliest mistake: a path from the current folder, or a typo."""
    if folder is not None and os.path.isfile(given):
        inside = os.path.relpath(os.path.abspath(given), folder)
        return f" entry is relative to source_directory; did you mean {inside!r}?"
    parent, name = os.path.split(script)
    try:
        close = difflib.get_close_matches(name, os.listdir(parent), n=1)
    except OSError:
        return f" There is no folder {parent!r} either."
    if close:
        return f" Did you mean {close[0]!r}?"
    return " Give its path, relative to source_directory where that is given."


def _check_script(script: str) -> None:
    """Fails where it cannot be read or parsed, or has no ``run`` that takes a mini-batch."""
    # Imported here: the command line needs this module for its help, the check only later.
    from daskbatch.worker.script import check_script_source

    check_script_source(script)


def _name(entry: object) -> str:
    named: Any = entry if hasattr(entry, "__qualname__") else type(entry)
    return f"{named.__module__}.{named.__qualname__}"


def _check_object(entry: object, name: str) -> None:
    """Fails for what can be seen to be wrong before a runner loads it."""
    if isinstance(entry, ModuleType):
        raise EntryScriptError(
            f"entry must be {ACCEPTED}, got the module {entry.__name__!r}."
            f" Pass its path: {getattr(entry, '__file__', None)!r}."
        )
    run = getattr(entry, "run", None) or (None if isinstance(entry, type) else entry)
    if not callable(run):
        kind = f"the class {name!r} without run()" if isinstance(entry, type) else repr(entry)
        raise EntryScriptError(f"entry must be {ACCEPTED}, got {kind}.")
    if inspect.iscoroutinefunction(run):
        raise EntryScriptError(
            f"run of {name!r} must be an ordinary function, got an async one. Call asyncio.run() inside it."
        )
    if isinstance(entry, type):
        _check_constructor(entry, name)
        bound = isinstance(inspect.getattr_static(entry, "run"), (classmethod, staticmethod))
        _check_accepts(run, 0 if bound else 1, f"{name}.run")
    else:
        _check_accepts(run, 0, name)


def _check_travels(name: str, python: tuple[int, int, int] | None) -> None:
    """Bytecode is of one minor version."""
    if python is not None and python[:2] != sys.version_info[:2]:
        ours, theirs = (".".join(map(str, version[:2])) for version in (sys.version_info, python))
        raise EntryScriptError(
            f"{name!r} is of this Python {ours}, and cannot travel to python, which is {theirs}. Put it into an entry"
            f" script and give its path, or give a Python {ours}."
        )


def _check_constructor(entry: type, name: str) -> None:
    try:
        signature = inspect.signature(entry)
    except (TypeError, ValueError):
        return  # a C type does not say
    try:
        signature.bind()
    except TypeError as error:
        raise EntryScriptError(
            f"The constructor of {name!r} must work without arguments, as it is what init() is to a"
            f" script; it is declared as {name}{signature} ({error}). Give defaults, or pass an"
            " object that is made already."
        ) from None


def _check_accepts(run: Any, before: int, name: str) -> None:
    """`run` must take a mini-batch, or a mini-batch and a context, after `before` others."""
    try:
        signature = inspect.signature(run)
    except (TypeError, ValueError):
        return  # a C function does not say
    first = [None] * (before + 1)
    if _binds(signature, *first) or _binds(signature, *first, None) or _binds(signature, *first, context=None):
        return
    raise EntryScriptError(
        f"{name} must take one mini-batch, or a mini-batch and a context: run(mini_batch) or"
        f" run(mini_batch, context). It is declared as {name}{signature}."
    )


def _binds(signature: inspect.Signature, *arguments: object, **named: object) -> bool:
    try:
        signature.bind(*arguments, **named)
    except TypeError:
        return False
    return True


def _pickle(entry: object, name: str) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(entry))
    except Exception as error:  # whatever a user's __reduce__ raises
        raise EntryScriptError(
            f"{name!r} cannot be sent to the processes that run it: {type(error).__name__}: {error}."
            " It refers to something that lives in this process alone, such as a lock, an open file,"
            " a connection or a loaded model. Make a class, create that in its __init__, which runs"
            " once in each process, and use it in its run()."
        ) from error


def _digest(entry: object, pickled: bytes) -> str:
    """By content; of the pickle, which differs from process to process, where the content cannot be gone through."""
    from daskbatch.options.object_digest import object_digest

    try:
        return object_digest(entry)
    except Exception:  # whatever a user's __reduce__ raises
        return hashlib.sha256(pickled).hexdigest()
