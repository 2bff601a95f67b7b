"""Plans that bring files together by what their paths say."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.errors import InputError, MiniBatchError, SchemaError
from daskbatch.plan import Plan, make_plan, read_plan
from daskbatch.plan_inputs import difference_of_inputs, state_of_inputs
from daskbatch.plan_record import plan_from_json
from daskbatch.spec import InputSpec
from daskbatch.store.inputs import TableReader, to_frame
from daskbatch.types import NO_ROW, WHOLE_FILES, MiniBatch, MiniBatchSize
from daskbatch.worker.origins import Origins


def write(folder: Path, *names: str, data: bytes = b"") -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return str(folder)


def spec(*paths: str, input_format: str = "files", **options: object) -> InputSpec:
    return InputSpec(paths, input_format, None, **options)  # type: ignore[arg-type]


def names(mini_batch: MiniBatch) -> list[str]:
    return [Path(path).name for path in mini_batch.paths]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 99)), min_size=1, unique=True),
    st.sampled_from([("one",), ("two",), ("one", "two"), ("two", "one"), ("number",)]),
)
def test_a_mini_batch_for_each_combination(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, str, int]], keys: tuple[str, ...]
) -> None:
    # Given files in any order
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"{number:02d}/{one}-{two}.bin" for one, two, number in files]
    write(folder, *[str(path) for path in paths])
    made = spec(*map(str, paths), partition_format="/{number}/{one}-{two}.bin", partition_keys=keys)
    # When they are planned by some keys
    plan = make_plan(made, folder / "plan")
    found = list(read_plan(plan))
    # Then each combination is one mini-batch, in the order of first appearance, and its files in theirs
    expected: dict[tuple[str, ...], list[str]] = {}
    for (one, two, number), path in zip(files, paths, strict=True):
        values = {"one": one, "two": two, "number": f"{number:02d}"}
        expected.setdefault(tuple(values[key] for key in keys), []).append(str(path))
    assert [list(mini_batch.paths) for mini_batch in found] == list(expected.values())
    assert plan.mini_batches == plan.estimate == len(expected)
    assert plan.files == len(files)
    # And the keys of mini-batches rise: what is left of a plan is found by that
    assert [mini_batch.key for mini_batch in found] == sorted({mini_batch.key for mini_batch in found})
    # And each file goes with what it was like, and each mini-batch with its values
    states = [os.stat(path) for mini_batch in found for path in mini_batch.paths]
    assert [stamp for mini_batch in found for stamp in mini_batch.stamps] == [
        value for state in states for value in (state.st_size, state.st_mtime_ns)
    ]
    origins = Origins(**plan.origins())
    assert [tuple(origins.key_values(mini_batch.paths[0]).values()) for mini_batch in found] == list(expected)
    # And the input is known again
    assert plan.inputs == state_of_inputs(made)


def test_what_is_said_of_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "2020/01/a", "2020/01/b", "2020/02/a", "2021/01/a")
    made = spec(folder, partition_format="/{day:yyyy/MM}/{name}", partition_keys=("day",))
    plan = make_plan(made, tmp_path / "plan")
    assert plan.description == "4 files (input_format=files), one mini-batch for each of 3 combinations of day"
    first = next(read_plan(plan))
    assert Origins(**plan.origins()).key_values(first.paths[0]) == {"day": datetime(2020, 1, 1)}  # noqa: DTZ001
    one = make_plan(
        spec(f"{folder}/2021", partition_format="/{year}/{m}/{n}", partition_keys=("m", "n")), tmp_path / "p"
    )
    assert one.description == "1 file (input_format=files), one mini-batch, the only combination of m, n"


def test_a_plan_survives_being_stored(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "b/1", "a/1", os.fsdecode(b"a/caf\xe9"), 'a/"],["')
    options = {"partition_format": "/{letter}/{name}", "partition_keys": ("letter",), "datasets": (("of", 1),)}
    plan = make_plan(spec(folder, **options), tmp_path / "plan")
    again = plan_from_json(plan.as_json(), plan.path)
    assert again == plan
    assert list(read_plan(again)) == list(read_plan(plan))
    assert sorted(len(mini_batch.paths) for mini_batch in read_plan(plan)) == [1, 3]


def test_a_path_of_another_format_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "a/1", "2")
    made = spec(folder, partition_format="/in/{letter}/{name}", partition_keys=("letter",))
    with pytest.raises(InputError, match="does not end as partition_format"):
        make_plan(made, tmp_path / "plan")
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]


def test_what_has_changed_is_found(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "a/1", "b/1", "a/2", "b/2")
    made = spec(folder, partition_format="/{letter}/{name}", partition_keys=("name",))
    make_plan(made, tmp_path / "plan")
    (tmp_path / "in/b/1").write_bytes(b"more")
    write(tmp_path / "in", "c/2")
    assert difference_of_inputs(tmp_path / "plan", made) == [
        f"{folder}/b/1: changed (0 bytes, now 4)",
        f"{folder}/c/2: new",
    ]


# Datasets


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(1, 5))
def test_no_mini_batch_is_of_two_datasets(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], size: int
) -> None:
    folder = tmp_path_factory.mktemp("files")
    for place, count in enumerate(counts):
        write(folder, *[f"d{place}/{number:02d}" for number in range(count)])
    paths = [str(folder / f"d{place}") for place in range(len(counts))]
    datasets = tuple((f"d{place}", 1) for place in range(len(counts)))
    plan = make_plan(InputSpec(tuple(paths), "files", MiniBatchSize("files", size), datasets=datasets), folder / "plan")
    found, origins = list(read_plan(plan)), Origins(**plan.origins())
    assert plan.mini_batches == len(found)
    assert [path for mini_batch in found for path in mini_batch.paths] == sorted(
        path for path in map(str, folder.glob("d*/*"))
    )
    assert [mini_batch.key for mini_batch in found] == sorted({mini_batch.key for mini_batch in found})
    for mini_batch in found:
        assert {Path(path).parent.name for path in mini_batch.paths} == {origins.dataset(mini_batch)}


def test_datasets_may_share_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "k1/a", "k2/a", "k1/b")
    datasets = (("all", 1), ("again", 2))
    made = spec(folder, f"{folder}/k1", f"{folder}/k1/a", datasets=datasets)
    plan = make_plan(made, tmp_path / "plan")
    assert [names(mini_batch) for mini_batch in read_plan(plan)] == [["a", "b", "a"], ["a", "b"]]
    assert plan.description == ("5 files (input_format=files) in 2 datasets (all 3, again 2), mini-batches of 10 files")
    # And combinations of keys are told apart in each
    keyed = spec(folder, folder, datasets=(("x", 1), ("y", 1)), partition_format="/{k}/{n}", partition_keys=("n",))
    plan = make_plan(keyed, tmp_path / "plan")
    assert [names(mini_batch) for mini_batch in read_plan(plan)] == [["a", "a"], ["b"]] * 2
    origins = Origins(**plan.origins())
    assert [origins.dataset(mini_batch) for mini_batch in read_plan(plan)] == ["x", "x", "y", "y"]


def test_where_one_ends_and_the_next_begins_is_a_difference(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "a", "b", "c")
    paths = [f"{folder}/{name}" for name in "abc"]
    seen = {
        state_of_inputs(spec(*paths, datasets=pairs)).digest for pairs in [(("x", 1), ("y", 2)), (("x", 2), ("y", 1))]
    }
    assert len(seen) == 2
    alone = state_of_inputs(spec(*paths, datasets=(("x", 3),)))
    assert alone == state_of_inputs(spec(*paths))


def test_datasets_of_two_kinds_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a/1.csv", "b/1.png", data=b"x\n1\n")
    made = spec(f"{tmp_path}/a", f"{tmp_path}/b", input_format="auto", datasets=(("t", 1), ("f", 1)))
    with pytest.raises(InputError, match="'t' is a csv table and 'f' is no table"):
        make_plan(made, tmp_path / "plan")


def test_a_dataset_whose_tables_are_empty_has_no_mini_batch(tmp_path: Path) -> None:
    for name, data in (("a", b""), ("b", b"x\n1\n"), ("c", b"")):
        write(tmp_path / name, "1.csv", data=data)
    paths = [f"{tmp_path}/{name}" for name in "abc"]
    plan = make_plan(spec(*paths, input_format="csv", datasets=tuple((name, 1) for name in "abc")), tmp_path / "plan")
    assert plan.datasets == (("a", 0), ("b", 1), ("c", 0))
    assert [Origins(**plan.origins()).dataset(mini_batch) for mini_batch in read_plan(plan)] == ["b"]


# Tables


def tables(tmp_path: Path, files: dict[str, bytes], **options: object) -> Plan:
    for name, data in files.items():
        write(tmp_path / "in", name, data=data)
    form = {"partition_format": "/{part}/{key}.*", "partition_keys": ("key",)}
    return make_plan(spec(str(tmp_path / "in"), input_format="auto", **{**form, **options}), tmp_path / "plan")


def frames(plan: Plan) -> list[pd.DataFrame | None]:
    assert plan.table is not None
    reader = TableReader(plan.table)
    try:
        found = [reader.read(mini_batch) for mini_batch in read_plan(plan)]
    finally:
        reader.close()
    return [None if rows is None else to_frame(rows) for rows in found]


def test_a_table_of_all_files_of_a_combination(tmp_path: Path) -> None:
    # Given files with their columns in different orders, one with a header alone, one empty
    plan = tables(
        tmp_path,
        {
            "1/a.csv": b"x,y\n1,one\n2,two\n",
            "1/b.csv": b"x,y\n7,seven\n",
            "2/a.csv": b"y,x\nthree,3\n",
            "3/a.csv": b"x,y\n",
            "3/b.csv": b"",
            "4/c.csv": b"x,y\n",
        },
        include_path=True,
    )
    # Then each combination is one frame of one shape
    first, second, third = frames(plan)
    assert first is not None
    assert second is not None
    assert third is None
    assert first.to_dict("list") == {
        "Path": [f"{tmp_path}/in/{name}" for name in ("1/a.csv", "1/a.csv", "2/a.csv")],
        "x": [1, 2, 3],
        "y": ["one", "two", "three"],
        "part": ["1", "1", "2"],
        "key": ["a"] * 3,
    }
    assert isinstance(first.index, pd.RangeIndex)
    assert list(second["x"]) == [7]
    assert (plan.mini_batches, plan.files, plan.skipped) == (3, 5, (f"{tmp_path}/in/3/b.csv",))
    assert {(one.stop, one.row, one.size) for one in read_plan(plan)} == {(WHOLE_FILES, NO_ROW, -1)}
    assert plan.description.endswith("one mini-batch for each of 3 combinations of key")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
@pytest.mark.parametrize("zipped", [False, True])
def test_text_in_any_encoding(tmp_path: Path, encoding: str, zipped: bool) -> None:
    parts = [("x,y\n" + "".join(f'{i},"é\n{i}"\n' for i in range(part, part + 3))).encode(encoding) for part in (0, 3)]
    names = [f"{place}/a.csv{'.gz' if zipped else ''}" for place in (1, 2)]
    files = {name: gzip.compress(data) if zipped else data for name, data in zip(names, parts, strict=True)}
    plan = tables(tmp_path, files, encoding=encoding, support_multi_line=True, partition_format="/{part}/{key}.csv*")
    (frame,) = frames(plan)
    assert frame is not None
    assert list(frame["x"]) == list(range(6))
    assert list(frame["y"]) == [f"é\n{i}" for i in range(6)]


def test_large_files_are_read_whole(tmp_path: Path) -> None:
    # Given files longer than what is parsed at once
    lines = "".join(f"{number},{'w' * 90}\n" for number in range(30_000))
    plan = tables(tmp_path, {f"{part}/a.csv": f"id,text\n{lines}".encode() for part in (1, 2)})
    (frame,) = frames(plan)
    assert frame is not None
    assert list(frame["id"]) == [*range(30_000)] * 2


def test_files_that_do_not_fit_fail_their_mini_batch_alone(tmp_path: Path) -> None:
    good = {f"{part}/good.csv": b"x\n1\n" for part in range(3)}
    bad_too = {"0/bad.csv": b"x\n1\n2\n", "1/bad.csv": b"x\none\n"}
    plan = tables(tmp_path, {**good, **bad_too}, dtype=(("x", "int64"),))
    assert plan.table is not None
    bad, fine = sorted(read_plan(plan), key=lambda one: len(one.paths))
    reader = TableReader(plan.table)
    for _ in range(2):
        with pytest.raises(SchemaError, match=r"1/bad.csv: column 'x' is int64") as caught:
            reader.read(bad)
        assert caught.value.items is None  # a part of them was read
    rows = reader.read(fine)
    assert rows is not None
    assert rows.num_rows == 3
    reader.close()


def test_each_file_of_a_table_must_be_as_it_was_planned(tmp_path: Path) -> None:
    plan = tables(tmp_path, {"1/a.csv": b"x\n1\n", "2/a.csv": b"x\n2\n"})
    (tmp_path / "in/2/a.csv").write_bytes(b"x\n3\n4\n")
    with pytest.raises(MiniBatchError, match=r"2/a.csv has changed since the run was planned: its size was 4 and is 6"):
        frames(plan)


def test_parquet_files_whose_columns_differ_in_gaps_alone(tmp_path: Path) -> None:
    for part, values in ((1, [True, None]), (2, [False, True])):
        path = tmp_path / f"in/{part}/a.parquet"
        path.parent.mkdir(parents=True)
        pd.DataFrame({"x": pd.array(values, "boolean")}).to_parquet(path, row_group_size=1)
    (frame,) = frames(tables(tmp_path, {}))
    assert frame is not None
    assert list(frame["x"].astype(object)) == [True, pd.NA, False, True]
    assert str(frame["x"].dtype) == "boolean"


LINES = st.lists(st.sampled_from(["1,a", '2,"b, c"', '3,"d\ne"', "", "-4,ä", '5,""']), max_size=8)
TEXTS = st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans(), st.booleans())


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_the_rows_are_those_of_the_files_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[list[str], str, bool, bool]]
) -> None:
    # Given text with blank lines, newlines of all kinds, marks of byte order, newlines missing at the end
    folder = tmp_path_factory.mktemp("files")
    for number, (lines, newline, mark, ends) in enumerate(texts):
        text = newline.join(["x,y", *lines]) + newline * ends
        write(folder, f"in/{number}/all.csv", data=text.encode("utf-8-sig" if mark else "utf-8"))
    options = {"support_multi_line": True, "dtype": (("x", "int64"), ("y", "string"))}
    one_by_one = spec(str(folder / "in"), input_format="csv", partition_format="/{part}/{key}.csv", **options)
    together = replace(one_by_one, partition_keys=("key",))
    if not any(line for lines, *_ in texts for line in lines):
        with pytest.raises(InputError, match="has no rows"):
            make_plan(together, folder / "plan")
        return
    # Then the one frame has the rows of all of them, as they are read one by one
    parts = [part for part in frames(make_plan(one_by_one, folder / "plan")) if part is not None]
    (frame,) = frames(make_plan(together, folder / "plan"))
    assert frame is not None
    pd.testing.assert_frame_equal(frame, pd.concat(parts, ignore_index=True))
