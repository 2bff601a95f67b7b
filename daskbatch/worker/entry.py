"""What an entry script sees of the run it is in, and how its errors are shown to its author.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator

__all__ = ["EntryScript", "configure", "put_back_after", "user_traceback"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LONGEST = 20_000  # characters of a traceback; an error may quote a whole table
_FORMAT = "%(asctime)s|%(levelname)s|%(process)d|%(message)s"


class EntryScript:
    """The run, as user code sees it. Every call returns the same object.

    Outside a runner (in ``try``, in a notebook) the logger writes to stderr and the folders are local ones.
    """

    _instance: EntryScript | None = None
    _settings: dict[str, str]

    def __new__(cls) -> EntryScript:  # noqa: PYI034 - Self is not in Python 3.9
        """Return the one instance."""
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance._settings = {}
        return cls._instance

    @property
    def logger(self) -> logging.Logger:
        """Logger of the entry script: in a runner, its file under ``logs/user/entry_script_log``."""
        logger = logging.getLogger("daskbatch.entry_script")
        if not any(getattr(handler, "of_daskbatch", False) for handler in logger.handlers):
            _attach(logger, _Stderr(), "INFO")
        return logger

    @property
    def output_dir(self) -> str:
        """Folder of the run's output."""
        return self._settings.get("output_dir") or os.environ.get("AZUREML_BI_OUTPUT_PATH") or os.getcwd()

    @property
    def log_dir(self) -> str:
        """Folder for logs that the script writes itself."""
        return self._settings.get("log_dir") or self._local("log_dir")

    @property
    def working_dir(self) -> str:
        """Folder for scratch files; it goes with the run."""
        return self._settings.get("working_dir") or self._local("working_dir")

    @property
    def agent_name(self) -> str:
        """Name of this process among those of the run, such as ``"node-7/process003"``."""
        return self._settings.get("agent_name", "local")

    def _local(self, name: str) -> str:
        self._settings[name] = tempfile.mkdtemp(prefix=f"daskbatch-{name}-")
        return self._settings[name]


def configure(
    *,
    output_dir: str,
    log_dir: str,
    working_dir: str,
    agent_name: str,
    log_file: str | None = None,
    logging_level: str = "INFO",
) -> None:
    """Tell `EntryScript` about the run. The runner calls this before the script is imported.

    Parameters
    ----------
    log_file
        File of the logger, made with the first message. None: stderr.
    logging_level
        ``"WARNING"``, ``"INFO"`` or ``"DEBUG"``.
    """
    EntryScript()._settings = {
        "output_dir": output_dir,
        "log_dir": log_dir,
        "working_dir": working_dir,
        "agent_name": agent_name,
    }
    handler: logging.Handler = _Stderr()
    if log_file is not None:
        handler = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace", delay=True)
    _attach(logging.getLogger("daskbatch.entry_script"), handler, logging_level)


@contextlib.contextmanager
def put_back_after() -> Iterator[None]:
    """Leave `EntryScript` and its logger as they were: in the user's own process a run ends before the process does."""
    entry, logger = EntryScript(), logging.getLogger("daskbatch.entry_script")
    settings, handlers, level, propagate = entry._settings, logger.handlers[:], logger.level, logger.propagate
    # Out of sight of `configure`, which would close ours.
    logger.handlers[:] = [handler for handler in handlers if not getattr(handler, "of_daskbatch", False)]
    try:
        yield
    finally:
        entry._settings, logger.handlers[:], logger.propagate = settings, handlers, propagate
        logger.setLevel(level)


def _attach(logger: logging.Logger, handler: logging.Handler, level: str) -> None:
    """Put our handler in the place of our last one; handlers of others stay."""
    for old in logger.handlers[:]:
        if getattr(old, "of_daskbatch", False):
            logger.removeHandler(old)
            old.close()
    handler.of_daskbatch = True  # type: ignore[attr-defined]
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


class _Stderr(logging.Handler):
    """Writes to what ``sys.stderr`` is now: notebooks and tests exchange it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def user_traceback(error: BaseException) -> str:
    """Return the error's traceback as the script's author would see it: without daskbatch's own frames."""
    shown = traceback.TracebackException(type(error), error, error.__traceback__)
    _cut(shown, set())
    if not shown.stack and shown.__cause__ is None and (shown.__context__ is None or shown.__suppress_context__):
        text = "".join(shown.format_exception_only())  # nothing of the user's: no header over an empty list
    else:
        text = "".join(shown.format())
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _cut(shown: traceback.TracebackException, seen: set[int]) -> None:
    """Leave out our frames and the import machinery's, in the error and in those behind it."""
    if id(shown) in seen:
        return
    seen.add(id(shown))
    kept = [frame for frame in shown.stack if not frame.filename.startswith((_PACKAGE, "<frozen importlib"))]
    shown.stack = traceback.StackSummary.from_list(kept)
    for other in (shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())):
        if other is not None:
            _cut(other, seen)
