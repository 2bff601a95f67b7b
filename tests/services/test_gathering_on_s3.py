"""Small results that are gathered while a run goes on: what counts stays the same, whoever is killed."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from deaths import environment
from distributed import Client, LocalCluster
from s3_server import BOTH, Bucket

import daskbatch
from daskbatch.errors import SegmentDamaged
from daskbatch.remote.gathering import gather
from daskbatch.remote.segments import SegmentObjects, SegmentObjectWriter
from daskbatch.store.payloads import Payloads
from daskbatch.store.segments import read_index
from daskbatch.types import Chunk, Record

pytest_plugins = ["s3_services"]

SCRIPT = """
    import numpy, pandas
    def run(mini_batch):
        number = int(mini_batch[0][-6:-4])
        values = numpy.random.default_rng(number).integers(10**14, 10**15, (100_000, 2))
        return pandas.DataFrame(values, columns=["a", "b"])
"""
COUNT = 14
"""Results of about 3.2 MB: 44 MB."""


@pytest.fixture
def segments(s3: Bucket) -> SegmentObjects:
    return SegmentObjects(f"{s3.url}/segments", (("endpoint_url", s3.endpoint),))


def committed(segments: SegmentObjects, name: str, *mini_batches: tuple[int, bytes, str]) -> Chunk:
    """A chunk of these mini-batches: index, payload, column signature."""
    writer = SegmentObjectWriter(segments.url, name, segments.options)
    for index, payload, columns in mini_batches:
        writer.append(Record(7, index, 2, 2, 1, 0, 0, 0, index / 4), payload, columns)
    chunk = writer.commit()
    assert chunk is not None
    return chunk


@pytest.mark.parametrize("s3", BOTH, indirect=True)
def test_what_is_gathered_is_what_was_there(s3: Bucket, segments: SegmentObjects) -> None:
    parts = [
        committed(segments, "one", (0, b"zero\n", '["a"]'), (4, b"four\n" * 1000, '["b"]'), (1, b"", "")),
        committed(segments, "two", (3, b"three\n", '["b"]'), (2, b"two\n", '["a"]')),
    ]
    whole = gather(segments, parts)
    assert b"".join(Payloads(segments, [whole]).blocks()) == b"zero\ntwo\nthree\n" + b"four\n" * 1000
    records, signatures = read_index(segments, whole)
    found = [Record(*row) for row in records.tolist()]
    assert [(one[1], one.items, one.returned, one.rows, one.seconds) for one in found] == [
        (number, 2, 2, 1, number / 4) for number in range(5)
    ]
    assert [signatures[one.columns] for one in found] == ['["a"]', "", '["a"]', '["b"]', '["b"]']
    assert gather(segments, parts).segment != whole.segment  # a second call harms nothing


def test_what_is_damaged_is_not_gathered(s3: Bucket, segments: SegmentObjects) -> None:
    good, bad = committed(segments, "one", (0, b"zero\n", "")), committed(segments, "two", (1, b"one\n", ""))
    key = f"segments/{bad.segment}"
    s3.put(key, s3.get(key).replace(b"one", b"two"))
    for token in (bad.token, ""):  # another object than the one that was put; its bytes
        with pytest.raises(SegmentDamaged, match=bad.segment):
            gather(segments, [good, bad._replace(token=token)])
    assert len(s3.keys()) == 2


def test_a_worker_that_is_killed_while_it_gathers(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given workers of which one dies when it has put what it has gathered, and before it says so
    for name, value in environment(tmp_path / "points", "gather.after=kill@1").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "in").mkdir()
    for number in range(COUNT):
        (tmp_path / "in" / f"{number:02}.bin").touch()
    entry = tmp_path / "score.py"
    entry.write_text(textwrap.dedent(SCRIPT))
    same: dict[str, Any] = {"append_row_file_name": "p.csv", "mini_batch_size": 1, "progress": False}
    oracle = daskbatch.run(entry, tmp_path / "in", output=tmp_path / "o", compute="serial", **same)
    assert oracle.output_file is not None
    # When they run a step whose results are all too small for the store to copy
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        options = {"storage_options": {"endpoint_url": s3.endpoint}, "task_seconds": 0.01, "client": client}
        daskbatch.run(entry, tmp_path / "in", output=f"{s3.url}/out", **same, **options)
    # Then another one has gathered them
    assert (tmp_path / "points" / "gather.after.1").exists()
    ledger = b"".join(s3.get(key) for key in [*s3.keys()] if "/ledger-" in key)
    assert b'"gathered"' in ledger
    # and the result is that of an undisturbed run
    assert s3.get("out/p.csv") == oracle.output_file.read_bytes()
    assert s3.pending() == []
    assert not [key for key in [*s3.keys()] if "/segments/" in key]
