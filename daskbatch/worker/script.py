"""The entry script's contract: ``init()``, ``run(mini_batch[, context])``, ``shutdown()``.

Runs in the runner's interpreter: standard library, Python 3.9. `check_script_source` alone is the
client's: it looks at a script before anything starts, and executes nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, NamedTuple

from daskbatch.errors import EntryScriptError, ScriptChanged
from daskbatch.worker.no_bytecode import write_no_bytecode

__all__ = ["Context", "Script", "check_script_source", "load_object", "load_script"]

_CONTRACT = "Define run(mini_batch) or run(mini_batch, context) at the top level of the script."


class Context(NamedTuple):
    """What ``run(mini_batch, context)`` is told besides its data."""

    minibatch_index: str
    """The mini-batch's key, such as ``"3-17"``; the same in every run of the same input."""
    partition_key_value: dict[str, Any]
    """Key column -> value, where the input is cut by keys; else empty."""
    dataset: str | None
    """Name of the input that the mini-batch comes from."""
    retry_count: int
    """Tries before this one."""
    global_row_index_lower_bound: int | None
    """Rows of the whole input before this mini-batch; None where planning did not count rows."""


class Script:
    """What the user gave, ready to be called."""

    def __init__(
        self,
        run: Callable[..., Any] | None,
        init: Callable[[], Any] | None = None,
        shutdown: Callable[[], Any] | None = None,
        *,
        name: str,
        factory: type | None = None,
    ) -> None:
        self.file = name
        """Path of the entry script, or the name of the object."""
        self._init = init
        self._shutdown = shutdown
        self._factory = factory
        self._run: Callable[..., Any] | None = None
        self._style = ""
        if run is not None:
            self._take(run)

    def init(self) -> None:
        """Call the user's ``init()``; for a class, make the instance."""
        if self._factory is not None:
            instance = self._factory()
            self._take(instance.run)
            self._shutdown = _hook(instance, "shutdown", self.file)
        if self._init is not None:
            self._init()

    @property
    def takes_context(self) -> bool:
        """Whether ``run`` has a parameter for it; known after `init`."""
        return bool(self._style)

    def run(self, mini_batch: Any, context: Context | None) -> Any:
        """Call the user's ``run``; a generator is consumed here, where the time limit still holds."""
        if self._run is None:
            raise EntryScriptError(f"{self.file}: run() was called before init()")
        if self._style == "positional":
            result = self._run(mini_batch, context)
        elif self._style == "keyword":
            result = self._run(mini_batch, context=context)
        else:
            result = self._run(mini_batch)
        return list(result) if isinstance(result, Iterator) else result

    def shutdown(self) -> None:
        """Call the user's ``shutdown()``, if there is one."""
        if self._shutdown is not None:
            self._shutdown()

    def _take(self, run: Callable[..., Any]) -> None:
        self._style = _call_style(run, self.file)
        self._run = run


# Loading


def load_script(path: str, arguments: Sequence[str], source_directory: str | None, digest: str | None = None) -> Script:
    """Execute an entry script's module.

    ``sys.argv`` and ``sys.path`` are set before: scripts parse their arguments and import their
    siblings while they are imported. Nothing is written beside the script, no bytecode either.

    Parameters
    ----------
    digest
        SHA-256 that the file must have, in hexadecimal; None: any.

    Raises
    ------
    ScriptChanged
        It is another script by now: one run must not mix the results of two.
    EntryScriptError
        There is no usable ``run``, or the script exits. What the script itself raises passes through.
    """
    path = os.path.abspath(path)
    sys.argv = [path, *arguments]
    folders = [os.path.dirname(path), *([os.path.abspath(source_directory)] if source_directory else [])]
    _lead_path(folders)
    write_no_bytecode(folders)
    module = _new_module(path)
    with open(path, "rb") as file:
        source = file.read()
    if digest is not None and hashlib.sha256(source).hexdigest() != digest:
        raise ScriptChanged(
            f"The entry script {path} has changed since the run began, so no new process can go on with it. Next: put"
            " it back and repeat the command, or add --fresh (fresh=True), which begins anew."
        )
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except SystemExit as error:
        raise EntryScriptError(
            f"{path} ended itself while it was imported: exit status {error.code!r}. "
            f"Its arguments were {list(arguments)}; they are given after -- on the command line, or as "
            "arguments=[...]. What it had to say itself is on stderr, of a run in logs/user/stderr."
        ) from None
    return _from_namespace(module, path)


def load_object(obj: Any, arguments: Sequence[str]) -> Script:
    """Take a function, a class or an instance as the entry script.

    A function, or another callable, is ``run``. A class: its constructor without arguments is ``init``,
    its methods are ``run`` and ``shutdown``. An instance with ``run`` is used as it is. If either has a
    method ``init()`` too, that is called as a script's would be, once in each process.
    """
    name = str(getattr(obj, "__qualname__", type(obj).__qualname__))
    sys.argv = [name, *arguments]
    if inspect.isclass(obj):
        if not callable(getattr(obj, "run", None)):
            raise EntryScriptError(f"class {name} has no method run. Add run(self, mini_batch).")
        init = _hook(obj, "init", name)
        if init is None:
            return Script(None, name=name, factory=obj)
        return Script(None, name=name, factory=_initialised(obj))
    if hasattr(obj, "run"):
        return _from_namespace(obj, name)
    if callable(obj):
        return Script(obj, name=name)
    raise EntryScriptError(
        f"{name} cannot be an entry script. Give a path, a function of a mini-batch, or a class or an "
        "object with a method run(self, mini_batch)."
    )


def _initialised(cls: type) -> Any:
    def make() -> Any:
        instance = cls()
        instance.init()
        return instance

    return make


def _from_namespace(owner: Any, name: str) -> Script:
    run = getattr(owner, "run", None)
    if run is None:
        raise EntryScriptError(f"{name} has no run. {_CONTRACT}")
    if not callable(run):
        raise EntryScriptError(f"{name}: run is a {type(run).__name__}, not a function. {_CONTRACT}")
    return Script(run, _hook(owner, "init", name), _hook(owner, "shutdown", name), name=name)


def _hook(owner: Any, hook: str, name: str) -> Callable[[], Any] | None:
    found = getattr(owner, hook, None)
    if found is None or callable(found):
        return found
    raise EntryScriptError(f"{name}: {hook} is a {type(found).__name__}, not a function. Rename it.")


def _lead_path(folders: Sequence[str]) -> None:
    sys.path[:] = [*dict.fromkeys(folders), *(part for part in sys.path if part not in folders)]


def _new_module(path: str) -> ModuleType:
    """Return the script's empty module, under its own name, so that siblings and pickle find it.

    A script called like a module that is loaded (``json.py``) must not take that one's place, nor that of one which
    its siblings' imports would find: ``predict.py`` beside a package ``predict``, ``score-images.py`` beside
    ``score_images.py``.
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    name = "".join(c if c.isalnum() or c == "_" else "_" for c in stem) or "entry_script"
    loaded = sys.modules.get(name)
    importable = PathFinder.find_spec(name)
    if (loaded is not None and not hasattr(loaded, "__daskbatch_entry__")) or (
        importable is not None and importable.origin != path
    ):
        name = f"entry_script_{name}"
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    if spec is None:
        raise EntryScriptError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__daskbatch_entry__"] = True
    sys.modules[name] = module
    return module


# Signatures


def _call_style(run: Callable[..., Any], name: str) -> str:
    """Return how `run` takes its context: ``"positional"``, ``"keyword"`` or not at all, ``""``."""
    if inspect.iscoroutinefunction(run) or inspect.isasyncgenfunction(run):
        raise EntryScriptError(f"{name}: run is async. Make it a plain function: asyncio.run() inside it.")
    try:
        parameters = list(inspect.signature(run).parameters.values())
    except (TypeError, ValueError):  # some of those written in C tell nothing
        return ""
    return _style(
        [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)],
        sum(p.default is not p.empty for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)),
        any(p.kind is p.VAR_POSITIONAL for p in parameters),
        {p.name: p.default is p.empty for p in parameters if p.kind is p.KEYWORD_ONLY},
        name,
    )


def _style(positional: list[str], defaults: int, more: bool, keywords: dict[str, bool], name: str) -> str:
    """Return the call style of a parameter list.

    A second parameter is the context if it is required or called ``context``: one such as ``top_k=5``
    must not be given a context by surprise.
    """
    required = len(positional) - defaults
    needed = [keyword for keyword, must in keywords.items() if must and keyword != "context"]
    if required > 2 or needed or not (positional or more):
        shown = [*positional, *(["*args"] if more else []), *keywords]
        raise EntryScriptError(
            f"{name}: run({', '.join(shown)}) cannot be called with a mini-batch and a context. "
            "Allowed are run(mini_batch), run(mini_batch, context), and further parameters with defaults."
        )
    if required == 2 or positional[1:2] == ["context"]:
        return "positional"
    return "keyword" if "context" in keywords or "context" in positional[1:] else ""


# Before anything starts


def check_script_source(path: str) -> None:
    """Look at a script without executing it.

    Raises
    ------
    EntryScriptError
        It does not exist, does not parse, or has no ``run`` that can be called.
    """
    if not os.path.isfile(path):
        got = "is a folder" if os.path.isdir(path) else "does not exist"
        raise EntryScriptError(f"entry script {path!r} {got}. Give the path of a Python file with run(mini_batch).")
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(), path)
    except OSError as error:
        raise EntryScriptError(f"entry script {path!r} cannot be read: {error.strerror}.") from None
    except (SyntaxError, ValueError) as error:
        where = "".join(traceback.format_exception_only(type(error), error)).strip()
        hint = " A notebook is no script: save its code as a .py file." if path.endswith(".ipynb") else ""
        raise EntryScriptError(f"entry script {path!r} is not valid Python {_version()}.{hint}\n{where}") from None
    found = [node for node in _top_level(tree.body) if _defines_run(node)]
    if not found:
        raise EntryScriptError(f"entry script {path!r} has no run. {_CONTRACT}{_nearly(tree)}")
    last = found[-1]
    if isinstance(last, ast.AsyncFunctionDef):
        raise EntryScriptError(f"{path}:{last.lineno}: run is async. Make it a plain function.")
    if isinstance(last, ast.FunctionDef) and not last.decorator_list:  # a decorator may change them
        arguments = last.args
        keywords = zip(arguments.kwonlyargs, arguments.kw_defaults)
        _style(
            [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)],
            len(arguments.defaults),
            arguments.vararg is not None,
            {argument.arg: default is None for argument, default in keywords},
            f"{path}:{last.lineno}",
        )


def _version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that the module executes itself, those inside if, try, with and loops too."""
    for node in body:
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for name in ("body", "orelse", "handlers", "finalbody"):
            for part in getattr(node, name, []):
                yield from _top_level(part.body if isinstance(part, ast.ExceptHandler) else [part])


def _defines_run(node: ast.stmt) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name == "run"
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return any((alias.asname or alias.name) in ("run", "*") for alias in node.names)
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = [n for target in targets if target is not None for n in ast.walk(target)]
    return any(isinstance(n, ast.Name) and n.id == "run" for n in names)


def _nearly(tree: ast.Module) -> str:
    """Say where a ``run`` was found that is not at the top level."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.lower() == "run":
            return f" There is a {node.name} in line {node.lineno}, which is not one."
    return ""
