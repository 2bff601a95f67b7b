"""From URLs, prefixes and globs to objects, in order, each once, page by page.

The rules are those of ``store/listing.py``: a tree gives the same order on a disk and on a store.
"""

from __future__ import annotations

import asyncio
import glob
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from daskbatch.errors import InputError
from daskbatch.remote import others
from daskbatch.remote.errors import ObjectMissing, StorageError
from daskbatch.remote.filesystem import filesystem, is_s3
from daskbatch.remote.options import StorageOptions
from daskbatch.remote.requests import plain_etag, request, result_of, run
from daskbatch.remote.retrying import AT_START, USUAL, Limit
from daskbatch.remote.urls import shown, split
from daskbatch.store.listing import Pattern

__all__ = ["Listed", "keys_below", "list_objects", "look"]

PAGE = 1000
"""Keys of one answer: the most that S3 gives."""


class Listed(NamedTuple):
    """An object that was found."""

    url: str
    size: int
    """Bytes."""
    token: str
    """Its etag, else the time of its change; empty where the store tells neither."""
    underscored: bool
    """Whether a name that a walk met on the way begins with ``_``."""


def list_objects(
    urls: tuple[str, ...], options: StorageOptions = (), limit: Limit = USUAL, page: int = PAGE
) -> Iterator[Listed]:
    """Objects of all inputs, in the order given; below a prefix in the byte order of their keys.

    A URL may name an object, a folder (what lies below it) or a glob. Where there is both an object and a folder of
    that name, it is the object; with a slash behind it, the folder. Names that begin with a dot are left out unless
    they are named; so are folder markers, which are keys that end in a slash, and keys with two slashes in a row.
    An object that is met twice is given once, at its first place. On S3 no more than two pages are in memory, however
    many objects there are.

    Raises
    ------
    InputError
        Where nothing is found.
    StorageError
    """
    inputs = list(dict.fromkeys(urls))
    seen: set[bytes] | None = set() if _may_overlap(inputs) else None
    for given in inputs:
        empty = True
        for found in _expand(given, options, limit, page):
            empty = False
            if seen is not None:
                # 16 bytes stand for a name: a million of them would take 100 MB and more.
                mark = hashlib.blake2b(found.url.encode(), digest_size=16).digest()
                if mark in seen:
                    continue
                seen.add(mark)
            yield found
        if empty:
            raise InputError(_nothing(given))


def look(url: str, options: StorageOptions = (), limit: Limit = USUAL) -> Listed | None:
    """The object of exactly this name, with its size and token; None where there is none.

    Raises
    ------
    StorageError
        What else is wrong, such as that there is no such bucket.
    """
    return _object(filesystem(url, options), url, limit)


def keys_below(root: str, options: StorageOptions = (), limit: Limit = USUAL, page: int = PAGE) -> Iterator[Listed]:
    """Every object below a folder, none left out, in the byte order of their keys; none where there is no folder.

    Raises
    ------
    StorageError
    """
    file_system = filesystem(root, options)
    keys = _s3_keys if is_s3(file_system) else _other_keys
    yield from keys(file_system, root.rstrip("/") + "/", "", _Rules(None), limit, page)


def _nothing(given: str) -> str:
    if glob.has_magic(split(given)[1]):
        return (
            f"inputs: the glob {shown(given)} matches nothing. '*' matches within a name, '**' any number of folders."
            " Next: check the URL."
        )
    return (
        f"inputs: there is no object {shown(given)}, and none below it. Names that begin with '.' are left out. Next:"
        " check the URL."
    )


def _may_overlap(urls: list[str]) -> bool:
    """Whether one object can be reached from two of the inputs."""
    last = ""
    for root in sorted(_base(url)[0].rstrip("/") + "/" for url in urls):
        if last and root.startswith(last):
            return True
        last = root
    return False


def _base(url: str) -> tuple[str, list[str]]:
    """The URL to begin at, and the parts of the pattern below it: none where it is no glob."""
    key = split(url)[1]
    root = url[: len(url) - len(key)].rstrip("/")
    parts = key.split("/")
    first = next((place for place, part in enumerate(parts) if glob.has_magic(part)), None)
    if first is None:
        return url, []
    return "/".join([root, *parts[:first]]), parts[first:]


@dataclass(slots=True)
class _Rules:
    """Which keys below a folder are taken. Keys come in order, so a folder's fate is decided once."""

    pattern: Pattern | None
    folder: str = ""
    """Names between the root and the last key met."""
    places: frozenset[int] | None = frozenset()
    """Where the pattern stands there; None: in a folder that it has matched as a whole."""
    underscored: bool = False
    dead: str = ""
    """A folder below which nothing is taken."""

    def __post_init__(self) -> None:
        self._enter("")

    def takes(self, name: str) -> bool:
        """Whether the object of this name below the root is one."""
        folder, slash, last = name.rpartition("/")
        if not last:
            return False
        if folder + slash != self.folder:
            self._enter(folder + slash)
        if self.dead:
            return False
        if self.places is None:
            return not last.startswith(".")
        assert self.pattern is not None
        return self.pattern.takes(self.places, last.encode("utf-8", "surrogateescape"))

    def marked(self, name: str) -> bool:
        """Whether the walk met an underscore: the file's own name counts in a walk, as on a disk."""
        return self.underscored or (self.places is None and name.rpartition("/")[2].startswith("_"))

    def _enter(self, folder: str) -> None:
        self.folder, self.dead, self.underscored = folder, "", False
        self.places = None if self.pattern is None else self.pattern.begin
        done = ""
        for name in folder.split("/")[:-1]:
            done += name + "/"
            if self.places is None:
                self.underscored = self.underscored or name.startswith("_")
                if name.startswith(".") or not name:
                    self.dead = done
                    return
                continue
            assert self.pattern is not None
            after = self.pattern.step(self.places, name.encode("utf-8", "surrogateescape"))
            if not after or not name:
                self.dead = done
                return
            self.places = None if self.pattern.end in after else after


def _expand(url: str, options: StorageOptions, limit: Limit, page: int) -> Iterator[Listed]:
    file_system = filesystem(url, options)
    base, parts = _base(url)
    if split(url)[1] and not url.endswith("/") and (exact := _object(file_system, url, limit)):
        yield exact
        return
    if parts and _is_folder(file_system, url, limit):
        base, parts = url, []
    root = base.rstrip("/") + "/"
    rules = _Rules(Pattern(parts) if parts else None)
    start = _literal(parts[0]) if parts else ""
    keys = _s3_keys if is_s3(file_system) else _other_keys
    last: bytes | None = None
    for found in keys(file_system, root, start, rules, limit, page):
        name = found.url[len(root) :]
        key = name.encode("utf-8", "surrogateescape")
        if last is not None and key <= last:
            raise StorageError(
                f"{shown(root)}: the store lists {name!r} behind a name that sorts after it, and the order of inputs"
                " would not be certain. Next: give the objects by name, or copy them to another bucket."
            )
        last = key
        if rules.takes(name):
            yield found._replace(underscored=rules.marked(name))


def _literal(part: str) -> str:
    """What every name begins with that this part of a glob matches."""
    if part == "**":
        return ""
    return part[: min(part.find(sign) for sign in "*?[" if sign in part)] if glob.has_magic(part) else part


def _object(file_system: Any, url: str, limit: Limit) -> Listed | None:
    """The object of exactly this name."""
    try:
        if is_s3(file_system):
            return _first(file_system, url, limit)
        return Listed(url, *others.look(file_system, url, limit)[:2], False)
    except ObjectMissing:
        return None


def _is_folder(file_system: Any, url: str, limit: Limit) -> bool:
    """Whether a name that looks like a glob is that of a folder."""
    if is_s3(file_system):
        return _first(file_system, url.rstrip("/") + "/", limit, exact=False) is not None
    return others.is_folder(file_system, url, limit)


def _first(file_system: Any, url: str, limit: Limit, exact: bool = True) -> Listed | None:
    """The first object whose key begins so: the one of exactly this key, if there is one.

    A listing says what is wrong where it fails; the answer to a HEAD has no body, and so no reason.
    """
    key = split(url)[1]
    place = url[: len(url) - len(key)]
    asking = request(file_system, "list_objects_v2", place, "asking for it", limit, Prefix=key, MaxKeys=1)
    entry = next(iter(run(file_system, asking).get("Contents", ())), None)
    if entry is None or (exact and entry["Key"] != key):
        return None
    return Listed(place + entry["Key"], int(entry["Size"]), plain_etag(entry), False)


def _s3_keys(file_system: Any, root: str, start: str, rules: _Rules, limit: Limit, page: int) -> Iterator[Listed]:
    """All keys below, the next page asked for while this one is worked on."""
    prefix = split(root)[1]
    place = root[: len(root) - len(prefix)]
    # A store that has answered is not a wrong endpoint: it may be gone for as long as in the middle of a run.
    later = USUAL if limit is AT_START else limit

    def ask(**where: str) -> Any:
        work = request(
            file_system, "list_objects_v2", place, "listing", limit, Prefix=prefix + start, MaxKeys=page, **where
        )
        return asyncio.run_coroutine_threadsafe(work, file_system.loop)

    asked = ask()
    try:
        while asked is not None:
            answer = result_of(asked)
            limit = later
            more, token = answer.get("IsTruncated"), answer.get("NextContinuationToken")
            asked = ask(ContinuationToken=token) if more else None
            for entry in answer.get("Contents", ()):
                yield Listed(place + entry["Key"], int(entry["Size"]), plain_etag(entry), False)
            if asked is not None and rules.dead:
                # A folder that nothing is taken from may be long: what the next page begins with lies behind it.
                asked.cancel()
                asked = ask(StartAfter=f"{prefix}{rules.dead}\U0010ffff")
    finally:
        if asked is not None:
            asked.cancel()


def _other_keys(file_system: Any, root: str, start: str, rules: _Rules, limit: Limit, page: int) -> Iterator[Listed]:
    """The same by folders, for filesystems that list a folder at a time: one folder's names are in memory."""
    found = others.children(file_system, root, limit)
    for name, size, token in sorted(found, key=lambda one: one[0].encode("utf-8", "surrogateescape")):
        if not name.startswith(start):
            continue
        if not name.endswith("/"):
            yield Listed(root + name, size, token, False)
        else:
            yield from _other_keys(file_system, root + name, "", rules, limit, page)
