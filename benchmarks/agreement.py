"""Compare what contenders wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["rows_of", "same_rows"]


def _files(out: Path) -> list[Path]:
    """Return the one result file, or the parts of those peers that write several."""
    whole = [path for path in out.rglob("predictions.*") if path.is_file()]
    return whole or sorted(path for kind in ("csv", "parquet") for path in out.rglob(f"*.{kind}"))


def rows_of(out: Path) -> Any:
    """Return all rows of a contender's result as a DataFrame, in the order of its files."""
    import pandas as pd

    files = [path for path in _files(out) if path.stat().st_size]
    if not files:
        raise SystemExit(f"there is no result in {out}: {sorted(out.rglob('*'))[:10]}")
    frames = [pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path) for path in files]
    return pd.concat(frames, ignore_index=True)


def same_rows(folders: Mapping[str, Path], key: str, tolerance: float = 1e-9) -> None:
    """Raise where contenders' rows differ, sorted by `key`, beyond what sums in another order make of a number."""
    import pandas as pd

    expected = None
    for name, out in folders.items():
        frame = rows_of(out).sort_values(key, ignore_index=True)
        if expected is None:
            expected = frame
        try:
            pd.testing.assert_frame_equal(frame, expected, rtol=tolerance, atol=tolerance, check_dtype=False)
        except AssertionError as error:
            raise SystemExit(f"{name} has other rows than {next(iter(folders))}: {error}") from None
