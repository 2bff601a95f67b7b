"""What jobs refer to: ``${{inputs.model}}``, ``${{parent.jobs.prepare.outputs.images}}``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from daskbatch.errors import UsageError

__all__ = ["Reference", "reference", "split_arguments"]

_EXPRESSION = re.compile(r"\$\{\{\s*([^{}]*?)\s*\}\}")

Reference = tuple[str, ...]
"""The parts of what stands between the braces: ``("inputs", "model")``."""


def reference(value: object) -> Reference | None:
    """What a value refers to; None where it is no such expression.

    >>> reference("${{ inputs.model }}")
    ('inputs', 'model')
    """
    found = _EXPRESSION.fullmatch(value.strip()) if isinstance(value, str) else None
    return None if found is None else tuple(found[1].split("."))


def split_arguments(text: object) -> list[list[str | Reference]]:
    """The arguments of a program, as a shell splits them; each as its parts, texts and references.

    >>> split_arguments("--model ${{ inputs.m }}/a.h5")
    [['--model'], [('inputs', 'm'), '/a.h5']]

    Raises
    ------
    UsageError
        It is no text, or a quote is not closed.
    """
    if text is None:
        return []
    if not isinstance(text, str):
        raise UsageError(f"program_arguments must be a text such as '--model ${{{{inputs.model}}}}', got {text!r}.")
    try:
        words = shlex.split(_EXPRESSION.sub(lambda found: f"${{{{{found[1]}}}}}", text))
    except ValueError as error:
        raise UsageError(f"program_arguments cannot be split into words: {error}. Got {text!r}.") from None
    return [list(_parts(word)) for word in words]


def _parts(word: str) -> Iterator[str | Reference]:
    for number, part in enumerate(_EXPRESSION.split(word)):
        if number % 2:
            yield tuple(part.split("."))
        elif part or not word:
            yield part
