"""How the store of an input is reached: ``storage_options``, from Python or the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from daskbatch.errors import UsageError
from daskbatch.remote.options import StorageOptions, checked
from daskbatch.remote.urls import is_remote, local_or_url, protocol_of
from daskbatch.spec import Fetched

__all__ = ["fetched_places", "output_options", "storage_options"]

_KINDS = ("object", "prefix", "zip", "any")
_WORDS = {"true": True, "false": False}


def storage_options(value: object, paths: tuple[str, ...]) -> StorageOptions:
    """Options of the store that `paths` are URLs of.

    Parameters
    ----------
    value
        A mapping, or texts such as ``"endpoint_url=http://host:9000"``.
    paths
        The input.

    Raises
    ------
    UsageError
    """
    given = _mapping(value)
    protocol = protocol_of(paths[0]) if paths else ""
    if given and not protocol:
        raise UsageError(
            f"storage_options {', '.join(map(repr, given))} are for inputs or an output in a store, such as"
            " s3://bucket/key, but they are files. Leave them out."
        )
    return checked(given, protocol)


def fetched_places(value: object, inputs: object = None) -> tuple[Fetched, ...]:
    """What of stores the script is told local paths of.

    Parameters
    ----------
    value
        URLs; or URL, kind and, if one likes, token and options of each.
    inputs
        Options of the inputs' store, which hold where none are given with a URL.

    Raises
    ------
    UsageError
    """
    found = []
    for one in value if isinstance(value, Iterable) and not isinstance(value, str) else (value,):
        given = [*one] if isinstance(one, (list, tuple)) else [one]
        whole: list[Any] = [*given, *(None, "any", "", None)[len(given) :]][:4]
        url, kind, token, options = whole
        if not (isinstance(url, str) and is_remote(url)) or kind not in _KINDS or not isinstance(token, str):
            raise UsageError(
                "fetched must be URLs such as s3://bucket/labels.txt, or ('s3://bucket/labels.txt', 'object'), got"
                f" {one!r}. The second is one of {', '.join(_KINDS)}. Next: leave out what is no URL, as scripts find"
                " local files by their paths."
            )
        own = _mapping(inputs) if options is None else options
        found.append(Fetched(local_or_url(url).rstrip("/"), kind, token, checked(own, protocol_of(url))))
    return tuple(found)


def output_options(value: object, inputs: object, output: str) -> StorageOptions:
    """Options of the output's store; those of the inputs' where none are given.

    Parameters
    ----------
    value, inputs
        As for `storage_options`.
    output
        A path or URL.

    Raises
    ------
    UsageError
    """
    given = _mapping(value)
    protocol = protocol_of(output)
    if given and not protocol:
        raise UsageError(
            f"output_storage_options {', '.join(map(repr, given))} are for an output in a store, such as"
            f" s3://bucket/key, got output {output!r}. Leave them out."
        )
    return checked(given or _mapping(inputs), protocol) if protocol else ()


def _mapping(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    texts = [value] if isinstance(value, str) else value
    found: dict[str, Any] = {}
    for text in texts if isinstance(texts, Iterable) else (texts,):
        name, equals, word = text.partition("=") if isinstance(text, str) else ("", "", "")
        if not (name and equals):
            # What was given is not shown: it may be a secret.
            raise UsageError(
                "storage_options must be a mapping such as {'endpoint_url': 'https://host:9000'}, or NAME=VALUE on the"
                " command line."
            )
        found[name] = _WORDS.get(word.lower(), word)
    return found
