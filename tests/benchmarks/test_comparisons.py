"""Benchmarks at a tiny size, with those contenders that need no package of their own; their rows are compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("program", "name", "contenders"),
    [
        ("dispatch", "dispatch", ["daskbatch, files", "daskbatch, rows", "pool", "dask.bag"]),
        ("tables", "tables-csv", ["daskbatch", "pandas in a pool", "dask.dataframe"]),
        ("tables", "tables-csv-large", ["daskbatch, 1,200 MB", "Arrow in a pool, 1,200 MB"]),
        ("images", "images-numpy", ["daskbatch", "pool", "dask.bag"]),
        ("threads", "threads", ["daskbatch", "1 by hand", "2 by hand", "4 by hand", "unset"]),
        ("tables_parquet", "tables-parquet", ["daskbatch", "Arrow in a pool", "Arrow in a pool, parts"]),
        ("tables_parquet", "tables-parquet-large", ["daskbatch, 200 files", "Arrow in a pool, 200 files"]),
        ("tables_boosted", "tables-boosted", ["daskbatch", "pool"]),
        ("images_keras", "images-keras", ["daskbatch", "pool"]),
    ],
)
def test_comparison(program: str, name: str, contenders: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{program}.py"), "--small", "--repeats", "1", "--json", str(tmp_path)]
    done = subprocess.run([*command, "--only", *contenders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / f"{name}.json").read_text())
    assert list(told["repeats"]) == contenders
    assert min(repeat["work"] for repeats in told["repeats"].values() for repeat in repeats) > 0
