"""``columns``: which columns of the files are read, and that they are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from daskbatch.errors import InputError
from daskbatch.nearest import nearest
from daskbatch.store.inputs_csv import names_differ
from daskbatch.types import TableFormat

__all__ = ["is_of", "refuse_missing_columns"]

_SHOWN = 20


def refuse_missing_columns(
    wanted: Sequence[str], names: Iterable[str], path: str, first: str = "", more: Iterable[str] = ()
) -> None:
    """Raise where a file has not all columns that were asked for.

    Parameters
    ----------
    wanted
        The option ``columns``.
    names
        Those of `path`.
    first
        The input's first file, which has them; empty where `path` is it.
    more
        Names that `path` need not have: JSON Lines may name them in ``dtype``.

    Raises
    ------
    InputError
    """
    names = list(names)
    known = {*names, *more}
    missing = [name for name in wanted if name not in known]
    if not missing:
        return
    if first and first != path:
        raise InputError(names_differ(tuple(name for name in names if name in wanted), path, tuple(wanted), first))
    shown = ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
    raise InputError(
        f"columns names {missing[0]!r}, which {path} has not.{nearest(missing[0], names)} Its columns are {shown}."
        " Next: correct the name; columns that a path says, by include_path or partition_format, come by themselves."
    )


def is_of(table: TableFormat) -> Callable[[str], bool]:
    """Whether a leaf of a Parquet file, such as ``"a.list.element"``, belongs to a column that is read.

    pyarrow asks for leaves in this way too: what it reads must be there.
    """
    if not table.selection:
        return lambda _: True
    exact, inner = frozenset(table.selection), tuple(f"{name}." for name in table.selection)
    return lambda leaf: leaf in exact or leaf.startswith(inner)
