"""What becomes of a file that cannot be scanned for its records: no row is lost, and no header read as a row."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from daskbatch import plan_cuts, plan_opening
from daskbatch.errors import InputError, MiniBatchError, RunFailed
from daskbatch.plan import Plan, make_plan, read_plan
from daskbatch.remote.errors import ObjectChanged
from daskbatch.spec import InputSpec
from daskbatch.store import scan
from daskbatch.store.inputs import TableReader
from daskbatch.types import MiniBatchSize

TWO_ROWS = MiniBatchSize("rows", 2)


class Failing:
    """A file whose reads fail after some."""

    def __init__(self, file: Any, reads: int, error: Exception) -> None:
        self._file, self._reads, self._error = file, reads, error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> Any:
        if self._reads == 0:
            raise self._error
        self._reads -= 1
        return self._file.read(size)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two tables, of seven rows and of two."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text("name\n" + "".join(f"x{number}\n" for number in range(7)))
    (folder / "b.csv").write_text("name\ny0\ny1\n")
    return make_plan(InputSpec((str(folder),), "auto", TWO_ROWS), tmp_path / "plan")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, Exception], None]:
    """Let the scan of the file of that name fail after some reads, of a record or two each; -1: it cannot be opened."""
    monkeypatch.setattr(plan_cuts, "_SCAN_BLOCK", 8)

    def fail(name: str, reads: int, error: Exception) -> None:
        def open_entry(entry: Any, storage: Any = ()) -> Any:
            if not entry[0].endswith(name):
                return plan_opening.open_entry(entry, storage)
            if reads < 0:
                raise error
            return Failing(plan_opening.open_entry(entry, storage), reads, error)

        monkeypatch.setattr(plan_cuts, "open_entry", open_entry)

    return fail


def read_all(plan: Plan) -> tuple[list[str], list[str]]:
    """The rows, and the errors of the mini-batches that have none."""
    assert plan.table is not None
    reader = TableReader(plan.table)
    rows: list[str] = []
    failures: list[str] = []
    for mini_batch in read_plan(plan):
        try:
            table = reader.read(mini_batch)
        except (MiniBatchError, OSError) as error:
            failures.append(f"{mini_batch.name}: {error}")
        else:
            rows += [] if table is None else table.column("name").to_pylist()
    reader.close()
    return rows, failures


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
@pytest.mark.parametrize("reads", [-1, 0, 1, 3])
def test_an_error_that_may_pass_ends_the_run(
    plan: Plan, failing: Callable[[str, int, Exception], None], reads: int, number: int
) -> None:
    # Given a disk that fails for a moment while a file is scanned
    failing("a.csv", reads, OSError(number, os.strerror(number)))
    # Then nobody is sent to read what was not found
    with pytest.raises(RunFailed, match=rf"a\.csv cannot be read.*{os.strerror(number)}.*Next: .*repeat the command"):
        list(read_plan(plan))


def test_a_file_that_is_gone_costs_its_own_mini_batches(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "in" / "a.csv").unlink()
    rows, (failure,) = read_all(plan)
    assert rows == ["y0", "y1"]
    assert failure.startswith("0-0: ")
    assert "a.csv is gone" in failure


def test_a_file_that_was_gone_while_it_was_scanned_is_not_read_with_its_header(
    plan: Plan, failing: Callable[[str, int, Exception], None]
) -> None:
    # Given a file that is not there for the planner, as where a mount is late, and is there for the reader
    failing("a.csv", -1, FileNotFoundError(errno.ENOENT, "No such file or directory"))
    # Then its rows have failed, which is told, and the header is no row
    rows, failures = read_all(plan)
    assert rows == ["y0", "y1"]
    assert [failure[:5] for failure in failures] == ["0-0: "]


def test_what_was_scanned_of_an_object_before_it_changed_belongs_to_the_mini_batch_that_fails(
    plan: Plan, failing: Callable[[str, int, Exception], None]
) -> None:
    # Given an object that changes when three of its rows have been found, two of which are one mini-batch
    whole = list(read_plan(plan))
    failing("a.csv", 2, ObjectChanged("it has changed"))
    cuts = [cut for cut in read_plan(plan) if cut.file == 0]
    # Then the last mini-batch begins where it would have begun, so that every row is in one
    assert [(cut.start, cut.stop) for cut in cuts[:-1]] == [(cut.start, cut.stop) for cut in whole[: len(cuts) - 1]]
    assert (cuts[-1].start, cuts[-1].stop) == (whole[len(cuts) - 1].start, cuts[-1].size)
    assert len(cuts) == 2


def test_a_file_that_lost_its_rows_after_it_was_listed_is_told(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "in" / "a.csv").write_text("name\n")
    rows, (failure,) = read_all(plan)
    assert rows == ["y0", "y1"]
    assert "a.csv has changed since the run was planned" in failure


def test_a_file_without_rows_is_a_range_without_records(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name\n\n")
    (tmp_path / "b.csv").write_text("name\ny0\n")
    plan = make_plan(InputSpec((str(tmp_path / "a.csv"), str(tmp_path / "b.csv")), "auto", TWO_ROWS), tmp_path / "plan")
    cuts = [(cut.key, cut.start, cut.stop, cut.row) for cut in read_plan(plan)]
    assert cuts == [((0, 0), 6, 6, -1), ((1, 0), 5, 8, 0)]
    assert read_all(plan) == (["y0"], [])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"name": "x"}\n[' + '{"name": "y"},' * 200_000, r"at byte 14 has no end.*line of its own.*Next: "),
        ("a.csv", "name\nx\n" + "y" * 2_500_000, r"at byte 7 has no end.*no line may be longer\. Next: "),
    ],
)
def test_a_record_without_end_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    plan = make_plan(InputSpec((str(tmp_path / name),), "auto", TWO_ROWS), tmp_path / "plan")
    monkeypatch.setattr(scan, "LONGEST_RECORD", 1024**2)
    with pytest.raises(InputError, match=rf"^inputs: .*{name}: the record {message}"):
        list(read_plan(plan))
