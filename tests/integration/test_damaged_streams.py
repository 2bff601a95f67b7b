"""A stream that cannot be read on fails once, with all that follows, and the run goes on with the other files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import daskbatch

SCRIPT = """
import time
def run(mini_batch):
    return mini_batch["a"].tolist()
"""


def damaged(path: Path) -> None:
    """A gzip file of rows 0 to 399,999 with its last third cut off."""
    whole = gzip.compress(("a\n" + "".join(f"{number}\n" for number in range(400_000))).encode(), mtime=0)
    path.write_bytes(whole[: len(whole) * 2 // 3])


@pytest.mark.parametrize("compute", ["serial", "local"])
def test_a_truncated_gzip_file(compute: str, tmp_path: Path) -> None:
    # Given a damaged file between two good ones
    (tmp_path / "score.py").write_text(SCRIPT)
    (tmp_path / "in").mkdir()
    for name in ("1.csv.gz", "3.csv.gz"):
        (tmp_path / "in" / name).write_bytes(gzip.compress(b"a\n" + b"1\n" * 10))
    damaged(tmp_path / "in" / "2.csv.gz")
    # When it is read in mini-batches of 20,000 rows
    run = daskbatch.run(
        tmp_path / "score.py",
        tmp_path / "in",
        output=tmp_path / "out",
        mini_batch_size="20000rows",
        run_max_try=2,
        compute=compute,
        progress=False,
    )
    # Then what comes before the damage is there, and the rest has failed as one, after every try
    (failed,) = run.failed_items()
    assert failed["rest_of_file"]
    assert failed["paths"] == [str(tmp_path / "in" / "2.csv.gz")]
    assert failed["tries"] == 2
    assert failed["item_count"] is None
    assert run.summary["items"]["at_least"]
    rows = run.to_pandas()["result"].tolist()
    good = len(rows) - 20
    assert good > 100_000
    assert rows == [1] * 10 + list(range(good)) + [1] * 10


def test_the_damage_is_at_the_same_place_for_every_way_of_running(tmp_path: Path) -> None:
    # Given a damaged file
    (tmp_path / "score.py").write_text(SCRIPT)
    damaged(tmp_path / "t.csv.gz")
    # When it is read serially and on two slots
    outputs = []
    for compute in ("serial", "local"):
        run = daskbatch.run(
            tmp_path / "score.py",
            tmp_path / "t.csv.gz",
            output=tmp_path / compute,
            mini_batch_size="20000rows",
            compute=compute,
            progress=False,
        )
        outputs.append(run.output_file.read_bytes())
    # Then both have the same bytes
    assert outputs[0] == outputs[1]
