"""What a plan says, without reading the data."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.errors import InputError
from daskbatch.plan import Plan, make_plan, read_plan
from daskbatch.spec import InputSpec
from daskbatch.store.footers import count_cuts, cut_row_groups
from daskbatch.types import NO_ROW, OPEN_END, MiniBatchSize

KB = MiniBatchSize("bytes", 1024)


@pytest.fixture
def planned(tmp_path: Path) -> Any:
    """Plan what lies in ``tmp_path / "in"``, where `files` are written first."""
    folder = tmp_path / "in"

    def plan(
        files: dict[str, bytes], size: MiniBatchSize | None = None, input_format: str = "auto", **options: Any
    ) -> Plan:
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return make_plan(InputSpec((str(folder),), input_format, size, **options), tmp_path / "plan.jsonl")

    return plan


@given(count=st.integers(1, 40), size=st.integers(1, 50))
def test_files_are_grouped_in_order(tmp_path_factory: pytest.TempPathFactory, count: int, size: int) -> None:
    # Given some files
    folder = tmp_path_factory.mktemp("files")
    names = [str(folder / f"{i:02d}.png") for i in range(count)]
    for name in names:
        Path(name).touch()
    # When they are planned
    plan = make_plan(InputSpec((str(folder),), "auto", MiniBatchSize("files", size)), folder / ".plan")
    found = list(read_plan(plan))
    # Then each is in one mini-batch, in order; the key is the number of the first file
    assert [path for mini_batch in found for path in mini_batch.paths] == names
    assert [mini_batch.key for mini_batch in found] == [(i, 0) for i in range(0, count, size)]
    assert plan.mini_batches == plan.estimate == len(found)
    # And each goes with what it was like
    states = [os.stat(name) for name in names]
    assert [stamp for mini_batch in found for stamp in mini_batch.stamps] == [
        value for state in states for value in (state.st_size, state.st_mtime_ns)
    ]
    assert all(len(mini_batch.stamps) == 2 * len(mini_batch.paths) for mini_batch in found)


def test_files_by_default(planned: Any) -> None:
    plan = planned({f"{i:02d}.png": b"" for i in range(11)})
    assert (plan.format, plan.table, plan.size, plan.files) == ("files", None, MiniBatchSize("files", 10), 11)
    assert plan.description == "11 files (by suffix), mini-batches of 10 files"
    assert [len(mini_batch.paths) for mini_batch in read_plan(plan)] == [10, 1]


def test_files_are_counted_in_bytes_empty_ones_too(planned: Any) -> None:
    plan = planned({"a.png": b"abc", "b.png": b"", "c.png": b"d"})
    assert (plan.files, plan.input_bytes, plan.skipped) == (3, 4, ())


def test_names_like_parts_of_the_plan_file_survive(planned: Any, tmp_path: Path) -> None:
    names = ['a",1,2]\n["b', "a]\n[b", "[1,2]", os.fsdecode(b"caf\xe9")]
    plan = planned(dict.fromkeys(names, b""), MiniBatchSize("files", 3))
    found = [path for mini_batch in read_plan(plan) for path in mini_batch.paths]
    assert sorted(found) == sorted(str(tmp_path / "in" / name) for name in names)


def test_a_mini_batch_may_hold_more_files_than_there_are(planned: Any) -> None:
    (mini_batch,) = read_plan(planned({"a.png": b"", "b.png": b""}, MiniBatchSize("files", 10**12)))
    assert len(mini_batch.paths) == 2


@pytest.mark.parametrize(
    ("name", "data", "fields"),
    [("a.png", b"abc", 3), ("a.csv", b"a\n1\n", 3), ("a.parquet", None, 4)],
    ids=["files", "csv", "parquet"],
)
def test_a_line_of_the_plan_file_says_what_the_file_was_like(
    name: str, data: bytes | None, fields: int, planned: Any, tmp_path: Path
) -> None:
    path = tmp_path / "in" / name
    if data is None:
        path.parent.mkdir()
        pq.write_table(pa.table({"a": [1, 2]}), path)
    plan = planned({} if data is None else {name: data})
    status = path.stat()
    (line,) = map(json.loads, plan.path.read_text().splitlines())
    assert line[:3] == [str(path), status.st_size, status.st_mtime_ns]
    assert len(line) == fields  # Parquet: the row groups too


def test_plain_text_is_cut_by_arithmetic(planned: Any) -> None:
    plan = planned({"a.csv": b"a\n" + b"1\n" * 1000, "b.csv": b"a\n1\n"}, KB)
    cuts = list(read_plan(plan))
    assert [(c.key, c.start, c.stop, c.row) for c in cuts] == [
        ((0, 0), 0, 1024, NO_ROW), ((0, 1), 1024, 2002, NO_ROW), ((1, 0), 0, 4, NO_ROW),
    ]  # fmt: skip
    status = os.stat(cuts[0].paths[0])
    assert (cuts[0].size, cuts[0].mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert plan.mini_batches == 3
    assert plan.table.columns == (("a", "int64"),)
    assert plan.description == "2 csv files, 2.0 KB (by suffix), mini-batches of 1 KB"


def test_a_bare_number_is_bytes_of_a_table(planned: Any) -> None:
    assert planned({"a.csv": b"a\n1\n"}, MiniBatchSize("files", 2)).size == MiniBatchSize("bytes", 2)


def test_row_counts_run_on_over_files(planned: Any) -> None:
    plan = planned({"a.csv": b"a\n1\n\n2\n3\n", "b.csv": b"a\n4\n"}, MiniBatchSize("rows", 2))
    assert [(c.key, c.start, c.stop, c.row) for c in read_plan(plan)] == [
        ((0, 0), 2, 7, 0), ((0, 1), 7, 9, 2), ((1, 0), 2, 4, 3),
    ]  # fmt: skip
    assert plan.mini_batches is None
    assert plan.estimate >= 2


def test_a_stream_is_one_descriptor_and_hides_the_rows_behind_it(planned: Any) -> None:
    plan = planned({"a.csv.gz": gzip.compress(b"a\n1\n"), "b.csv": b"a\n4\n"}, MiniBatchSize("rows", 1))
    assert [(c.key, c.stop, c.row) for c in read_plan(plan)] == [((0, 0), OPEN_END, NO_ROW), ((1, 0), 4, NO_ROW)]
    assert plan.mini_batches is None


def test_quoted_newlines_are_cut_between_records(planned: Any) -> None:
    data = b'a,b\n1,"' + b"x\n" * 1000 + b'"\n2,y\n3,"z\n"\n'
    plan = planned({"a.csv": data}, KB, support_multi_line=True)
    cuts = list(read_plan(plan))
    assert [data[c.start : c.stop][:3] for c in cuts] == [b'1,"', b"2,y"]
    assert [c.row for c in cuts] == [0, 1]
    assert cuts[-1].stop == len(data)


def test_a_quote_that_is_never_closed_is_named(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from daskbatch.store import scan

    plan = planned({"a.csv": b'a\n1\n"' + b"x\n" * 2_500_000}, KB, support_multi_line=True)
    monkeypatch.setattr(scan, "LONGEST_RECORD", 1024**2)
    with pytest.raises(InputError, match=r"a\.csv: the record at byte 4 has no end.*not closed"):
        list(read_plan(plan))


def test_a_file_that_vanished_while_it_is_scanned_costs_its_own_mini_batch(planned: Any) -> None:
    plan = planned({"a.csv": b"a\n1\n", "b.csv": b"a\n1\n", "c.csv": b"a\n1\n"}, MiniBatchSize("rows", 1))
    Path(next(iter(read_plan(plan))).paths[0]).with_name("b.csv").unlink()
    assert [c.key for c in read_plan(plan)] == [(0, 0), (1, 0), (2, 0)]


SIZES = st.one_of(
    st.builds(MiniBatchSize, st.just("bytes"), st.integers(1, 2000)),
    st.builds(MiniBatchSize, st.just("rows"), st.integers(1, 50)),
)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 1000)), max_size=8), SIZES)
def test_row_groups_are_joined_or_sliced_without_a_row_lost(groups: list[tuple[int, int]], size: MiniBatchSize) -> None:
    cuts = list(cut_row_groups(groups, size))
    assert sum(cut.rows for cut in cuts) == sum(rows for rows, _ in groups)
    assert count_cuts(groups, size) == sum(len(range(0, cut.rows, cut.step)) for cut in cuts)
    weights = [rows if size.kind == "rows" else weight for rows, weight in groups]
    for cut in cuts:
        if cut.step < cut.rows:
            assert weights[cut.unit] > size.value
            assert cut.rows == groups[cut.unit][0]
        elif size.kind == "rows":
            assert cut.rows <= size.value


def test_a_row_of_parquet_weighs_what_it_takes_in_memory(tmp_path: Path) -> None:
    # Given words that a dictionary makes a hundred times smaller on disk
    words = pa.table({"a": ["a word of thirty characters ..."] * 100_000})
    pq.write_table(words, tmp_path / "a.parquet", row_group_size=10_000)
    assert os.path.getsize(tmp_path / "a.parquet") < 100_000
    # When it is cut into mini-batches of 1 MB
    plan = make_plan(InputSpec((str(tmp_path / "a.parquet"),), "auto", None), tmp_path / "plan")
    # Then each takes about that much
    sizes = [(c.stop - c.start) * words.nbytes / words.num_rows for c in read_plan(plan)]
    assert plan.mini_batches == len(sizes) == 5
    assert max(sizes) <= 1024**2
    assert (plan.format, plan.input_bytes) == ("parquet", os.path.getsize(tmp_path / "a.parquet"))


def test_parquet_files_that_do_not_go_together_are_named(planned: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"a": [1], "b": [1]}), tmp_path / "in" / "1.parquet")
    pq.write_table(pa.table({"b": [1.5], "a": [2]}), tmp_path / "in" / "2.parquet")
    assert planned({}).table.columns == (("a", "int64"), ("b", "float64"))
    pq.write_table(pa.table({"a": ["x"], "b": [1]}), tmp_path / "in" / "3.parquet")
    with pytest.raises(InputError, match=r"column 'a' is int64 in .*1\.parquet and string in .*3\.parquet"):
        planned({})
    pq.write_table(pa.table({"a": [1], "c": [1]}), tmp_path / "in" / "3.parquet")
    with pytest.raises(InputError, match=r"3\.parquet lacks the column 'b' of .*1\.parquet and has the column 'c'"):
        planned({})


@pytest.mark.parametrize(
    ("names", "kind", "separator"),
    [
        (["a.csv", "b.CSV.gz"], "csv", ","),
        (["a.tsv", "b.tsv.gz"], "csv", "\t"),
        (["a.jsonl", "b.ndjson", "c.jsonl.gz"], "jsonl", ","),
        (["a.txt", "b.png", "c", "d.png.gz", "_e.csv"], "files", None),
        (["_SUCCESS", "_tmp/x.png", "part-0.csv"], "csv", ","),
    ],
)
def test_the_format_goes_by_suffix(planned: Any, names: list[str], kind: str, separator: str | None) -> None:
    plan = planned({n: gzip.compress(b"{}\n{}\n") if n.endswith("gz") else b"{}\n{}\n" for n in names})
    assert plan.format == kind
    assert separator is None or plan.table.separator == separator
    assert plan.files == len([n for n in names if kind == "files" or not n.startswith("_")])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.csv", "b.png"], r"a\.csv is a csv table and .*b\.png is no table.*input_format=files"),
        (["a.png", "b.csv"], r"a\.png is no table and .*b\.csv is a csv table"),
        (["a.csv", "b.tsv"], "a csv table and .* is a tsv table"),
        (["_a.csv"], "begin with '_'"),
    ],
)
def test_a_mix_of_formats_is_refused(planned: Any, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(dict.fromkeys(names, b"a\n1\n"))


def test_an_explicit_format_takes_any_name(planned: Any) -> None:
    plan = planned({"a.dat": b"a\t1\n"}, input_format="tsv", header=False)
    assert plan.table.columns == (("0", "string"), ("1", "int64"))
    assert plan.description == "1 tsv file, 4 bytes (input_format=tsv), mini-batches of 1 MB"


def test_tables_of_zero_bytes_are_skipped_and_listed(planned: Any, tmp_path: Path) -> None:
    plan = planned({"a.csv": b"", "b.csv": b"a\n1\n"})
    assert plan.skipped == (str(tmp_path / "in" / "a.csv"),)
    assert (plan.files, plan.mini_batches) == (1, 1)


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"a.csv": b"", "b.csv": b""}, {}, r"a\.csv has zero bytes, and so have all 2 tables"),
        ({"a.csv": b""}, {}, r"a\.csv has zero bytes\."),
        ({"_a": b"x"}, {"input_format": "csv"}, "no table was found: names that begin with '_'"),
        ({"a.parquet": b"x"}, {}, r"a\.parquet is no Parquet file"),
        ({"a.csv.gz": b"x"}, {}, r"a\.csv\.gz is damaged gzip: Not a gzipped file"),
        ({"a.png": b""}, {"size": KB}, r"mini_batch_size must be a count of files >= 1 for a FileDataset, got '1KB'"),
        ({"a.png": b""}, {"size": MiniBatchSize("rows", 5)}, "got '5rows'"),
    ],
)
def test_what_can_be_known_before_the_start_is_said(
    planned: Any, tmp_path: Path, files: dict[str, bytes], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        planned(files, **options)
    assert not (tmp_path / "plan.jsonl").exists()


def test_parquet_without_rows_is_empty(planned: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], "int64")}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="has no rows"):
        planned({"a.parquet": (tmp_path / "a.parquet").read_bytes()})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_is_named(planned: Any, tmp_path: Path) -> None:
    planned({"a.csv": b"a\n1\n"})
    (tmp_path / "in" / "a.csv").chmod(0)
    with pytest.raises(InputError, match=r"a\.csv cannot be read"):
        planned({})
