"""A folder on local scratch that all processes of one run on a host share, and that goes with the last of them.

Locks of the kernel tell who is there: they end with their process, however it ends. On local scratch alone: over
a network they are slow, or are none.

Runs in the runner's interpreter too: standard library, Python 3.9.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import shutil
import stat

__all__ = ["SharedFolder", "found_at", "leave_behind", "noted", "place_of", "remove_if_left", "sweep"]

_USERS = "users.lock"
_NOTE = "shared"
_ASIDE = ".left-"


class SharedFolder:
    """Being one of those who use the folder, until `close`.

    Parameters
    ----------
    path : str
        On local scratch; made where it is missing.

    Raises
    ------
    OSError
        It cannot be made.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._number = _joined(path)

    def close(self) -> None:
        """Use it no more; the last one removes it."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)
            remove_if_left(self.path)


def _joined(path: str) -> int:
    while True:
        os.makedirs(path, mode=0o700, exist_ok=True)
        name = os.path.join(path, _USERS)
        try:
            _check_own(path)
            number = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:  # removed just now, by who was the last
            continue
        try:
            fcntl.flock(number, fcntl.LOCK_SH)
            if _is(number, name):
                return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)


def _check_own(path: str) -> None:
    """See that nobody else could have put files there: scratch folders are open to all, and the name can be known."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(
            errno.EPERM, "it is no folder that this user alone may write to. Next: remove it, or set TMPDIR", path
        )


def _is(number: int, name: str) -> bool:
    """Whether the open file is the one of that name still."""
    try:
        return os.path.samestat(os.fstat(number), os.stat(name))
    except FileNotFoundError:
        return False


def remove_if_left(path: str) -> None:
    """Remove the folder, unless somebody uses it."""
    name = os.path.join(path, _USERS)
    try:
        number = os.open(name, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        with contextlib.suppress(OSError):  # whoever made it may have ended before it had a lock; or not even that
            os.rmdir(path)
        return
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is(number, name):
            # Aside first: who comes now makes a new one, and does not find half of this.
            aside = f"{path}{_ASIDE}{os.getpid()}"
            os.rename(path, aside)
            shutil.rmtree(aside, ignore_errors=True)
    except OSError:  # somebody uses it
        return
    finally:
        os.close(number)


def leave_behind(scratch: str, path: str) -> None:
    """Note in a scratch folder which shared folder its owner uses: who removes the one looks after the other."""
    with contextlib.suppress(FileExistsError):
        os.symlink(path, os.path.join(scratch, _NOTE))


def noted(scratch: str) -> str:
    """Return what `leave_behind` noted there; empty where it noted nothing."""
    try:
        return os.readlink(os.path.join(scratch, _NOTE))
    except OSError:
        return ""


def sweep(pattern: str) -> None:
    """Remove the folders of that pattern that nobody uses: their processes were killed, and with them their keepers."""
    for path in glob.glob(pattern):
        if _ASIDE in os.path.basename(path):  # whoever removed it may have been killed at that
            shutil.rmtree(path, ignore_errors=True)
        else:
            remove_if_left(path)


def place_of(folder: str, url: str, kind: str, token: str = "") -> str:
    """Where what is fetched lies; there alone once it is whole."""
    mark = hashlib.blake2b(f"{kind}\0{token}\0{url}".encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return os.path.join(folder, mark)


def found_at(place: str) -> str:
    """Return the one thing in a fetched folder."""
    (name,) = os.listdir(place)
    return os.path.join(place, name)
