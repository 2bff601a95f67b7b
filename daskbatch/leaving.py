"""How a process of ours ends without looking at every object of the libraries that it has imported.

At the end Python's garbage collector goes through all of them, three times: with pandas and Arrow that is a tenth of a
second of a core, for each process of each node at the same time, while the results are combined.

Runs in the runner's interpreter too: standard library, Python 3.9.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import threading
import weakref

__all__ = ["leave_soon"]

_LIBRARIES = tuple(os.sep + folder + os.sep for folder in ("site-packages", "dist-packages"))
_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
_STANDARD = os.path.join(os.path.dirname(os.path.abspath(os.__file__)), "")
_MARK = "__daskbatch_there__"


def leave_soon(with_users_code: bool = False) -> None:
    """Spare this process that at its end. To be called at its beginning: what is registered later has run by then.

    What the user's modules hold is freed in any case, as Python does: what is written to a file that is never closed
    is there when the file is freed.

    Parameters
    ----------
    with_users_code : bool
        There are objects of the user's, be there a module of the user's or not.
    """
    atexit.register(_leave, with_users_code)
    if "logging" in sys.modules:
        # Imported before, it would be ended after: handlers of the user's have names of their module to use.
        atexit.unregister(logging.shutdown)
        atexit.register(logging.shutdown)


class _There:
    """Is there as long as the module's names that it is among."""


def _leave(with_users_code: bool) -> None:
    if threading.active_count() > 1:
        return  # daemons, which Python halts before it takes away what they use
    there = _forget_users_modules()
    if there or with_users_code:
        gc.collect()  # a module and its functions refer to each other
        if any(list(map(_clear, there))):
            gc.collect()
    gc.freeze()


def _forget_users_modules() -> list[weakref.ref[_There]]:
    """Hold the user's modules no longer; and tell which are still there."""
    there = []
    own = sys.modules.get("__main__")  # `multiprocessing` has another name for it
    for name, module in list(sys.modules.items()):
        names = _names(module)
        if module is not own and _is_users(names.get("__file__")):
            names[_MARK] = mark = _There()
            there.append(weakref.ref(mark))
            del sys.modules[name]
    return there


def _names(module: object) -> dict[str, object]:
    """A module's names. One that is imported when it is first used must not be so now."""
    try:
        names = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return names if isinstance(names, dict) else {}


def _clear(reference: weakref.ref[_There]) -> bool:
    """Take a module's names away that somebody still holds, who has one of its functions. Python does so too."""
    mark = reference()
    if mark is None:
        return False
    for names in gc.get_referrers(mark):
        if isinstance(names, dict):
            names.clear()
    return True


def _is_users(path: object) -> bool:
    if not isinstance(path, str) or any(part in path for part in _LIBRARIES):
        return False
    return not os.path.abspath(path).startswith((_HERE, _STANDARD))
