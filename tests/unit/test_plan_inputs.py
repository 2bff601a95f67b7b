"""What an input is like, and how it differs from what a plan tells of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daskbatch import plan_inputs
from daskbatch.errors import InputError
from daskbatch.plan import make_plan
from daskbatch.plan_inputs import difference_of_inputs, state_of_inputs
from daskbatch.spec import InputSpec

NAMES = {"files": "{}.png", "csv": "{}.csv", "jsonl": "{}.jsonl", "parquet": "{}.parquet"}
Write = Callable[..., InputSpec]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files into a folder, ``0`` to ``n``, of a format; return the input."""

    def make(kind: str, count: int) -> InputSpec:
        (tmp_path / "in").mkdir(exist_ok=True)
        for number in range(count):
            path = tmp_path / "in" / NAMES[kind].format(number)
            if kind == "parquet":
                pq.write_table(pa.table({"a": [number]}), path)
            else:
                path.write_text({"files": "x" * number, "csv": f"a\n{number}\n", "jsonl": '{"a": 1}\n'}[kind])
        return InputSpec((str(tmp_path / "in"),), "auto", None)

    return make


@pytest.mark.parametrize("kind", NAMES)
def test_the_state_is_what_planning_found(write: Write, kind: str, tmp_path: Path) -> None:
    # Given an input with an empty file, which is skipped where it is a table
    spec = write(kind, 3)
    if kind != "parquet":
        (tmp_path / "in" / NAMES[kind].format(1)).write_bytes(b"")
    # When it is planned, and when it is only looked at
    plan = make_plan(spec, tmp_path / "plan")
    state = state_of_inputs(spec)
    # Then both find the same
    assert plan.inputs == state
    sizes = sum(path.stat().st_size for path in (tmp_path / "in").iterdir())
    assert (state.files, state.bytes) == (3, sizes)
    assert plan.input_bytes == sizes
    assert len(plan.skipped) == (kind in ("csv", "jsonl"))


def test_whatever_happens_to_a_file_shows_in_the_digest(write: Write, tmp_path: Path) -> None:
    spec = write("csv", 3)
    path = tmp_path / "in" / "1.csv"
    seen = {state_of_inputs(spec).digest}
    os.utime(path, ns=(0, 5))
    seen.add(state_of_inputs(spec).digest)
    os.utime(path, ns=(0, 6))
    seen.add(state_of_inputs(spec).digest)
    path.write_bytes(b"")
    os.utime(path, ns=(0, 6))
    seen.add(state_of_inputs(spec).digest)
    path.rename(tmp_path / "in" / "11.csv")
    seen.add(state_of_inputs(spec).digest)
    os.unlink(tmp_path / "in" / "11.csv")
    seen.add(state_of_inputs(spec).digest)
    assert len(seen) == 6


def test_the_order_of_inputs_shows_in_the_digest(write: Write, tmp_path: Path) -> None:
    write("files", 2)
    one, two = str(tmp_path / "in" / "0.png"), str(tmp_path / "in" / "1.png")
    there, back = InputSpec((one, two), "auto", None), InputSpec((two, one), "auto", None)
    assert state_of_inputs(there).digest != state_of_inputs(back).digest
    make_plan(there, tmp_path / "plan")
    assert difference_of_inputs(tmp_path / "plan", back) == ["the files are the same, in another order"]


def test_names_that_are_no_utf8_are_told_apart(tmp_path: Path) -> None:
    digests = set()
    for name in (b"caf\xe9", b"caf\xe8", b'caf"\n'):
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb"):
            os.utime(path, ns=(0, 0))
        digests.add(state_of_inputs(InputSpec((os.fsdecode(path),), "auto", None)).digest)
    assert len(digests) == 3


@pytest.mark.parametrize("look", [state_of_inputs, lambda spec: make_plan(spec, Path(spec.paths[0] + ".plan"))])
@pytest.mark.parametrize("kind", ["files", "csv"])
def test_a_file_that_goes_while_the_input_is_listed_is_named(
    kind: str, look: Callable[[InputSpec], object], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a link that leads nowhere: it is listed as a file that goes right after would be
    spec = write(kind, 2)
    name = NAMES[kind].format(9)
    (tmp_path / "in" / name).symlink_to("nothing")
    # When the input is looked at, then that file is named
    with pytest.raises(InputError, match=rf"{name} cannot be read: No such file"):
        look(spec)


def test_the_state_is_cheap(write: Write, tmp_path: Path) -> None:
    spec = write("parquet", 2)
    program = (
        "import sys; from daskbatch.plan_inputs import *; from daskbatch.spec import InputSpec;"
        f"print(state_of_inputs(InputSpec({spec.paths!r}, 'auto', None)).files);"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'dask') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["2", "[]"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.fixture
def differ(tmp_path: Path) -> Callable[[InputSpec], list[str]]:
    """How an input differs from ``tmp_path / "plan"``, without the folder's name."""

    def lines(spec: InputSpec) -> list[str]:
        found = difference_of_inputs(tmp_path / "plan", spec)
        return [line.replace(str(tmp_path / "in") + "/", "") for line in found]

    return lines


def test_differences_are_named(write: Write, differ: Callable[[InputSpec], list[str]], tmp_path: Path) -> None:
    # Given a plan
    spec, folder = write("files", 9), tmp_path / "in"
    make_plan(spec, tmp_path / "plan")
    assert differ(spec) == []
    # When files come, go and change
    (folder / "00.png").touch()
    os.unlink(folder / "3.png")
    (folder / "5.png").write_text("now seven")
    os.utime(folder / "7.png", ns=(0, 0))
    # Then each is told
    expected = ["5.png: changed (5 bytes, now 9)", "7.png: written again", "3.png: gone", "00.png: new"]
    assert differ(spec) == expected
    # And when there are more, they are counted
    for number in range(10, 20):
        (folder / f"z{number}.png").touch()
    assert differ(spec) == [*expected, "z10.png: new", "and 9 more"]


def test_tables_of_zero_bytes_are_no_news(
    write: Write, differ: Callable[[InputSpec], list[str]], tmp_path: Path
) -> None:
    # Given tables, one of them empty
    spec, folder = write("csv", 4), tmp_path / "in"
    (folder / "1.csv").write_bytes(b"")
    assert make_plan(spec, tmp_path / "plan").skipped == (str(folder / "1.csv"),)
    # When that one is written again, all that can be said is what it may be
    os.utime(folder / "1.csv", ns=(0, 0))
    assert differ(spec) == ["tables of zero bytes are new, gone or written again"]
    # When others lose or gain content, they are named
    (folder / "2.csv").write_bytes(b"")
    (folder / "1.csv").write_text("a\n1\n")
    assert differ(spec) == ["2.csv: changed (4 bytes, now 0)", "1.csv: new"]


def test_parquet_is_compared_too(write: Write, differ: Callable[[InputSpec], list[str]], tmp_path: Path) -> None:
    spec = write("parquet", 2)
    make_plan(spec, tmp_path / "plan")
    os.unlink(tmp_path / "in" / "0.parquet")
    assert differ(spec) == ["0.parquet: gone"]


def test_what_has_little_in_common_is_only_counted(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given more differences than are remembered
    monkeypatch.setattr(plan_inputs, "_UNMATCHED", 3)
    spec = write("files", 9)
    make_plan(spec, tmp_path / "plan")
    for number in range(9):
        os.rename(tmp_path / "in" / f"{number}.png", tmp_path / "in" / f"other{number}.png")
    write("files", 2)
    # When they are asked for, then there are two counts
    found = difference_of_inputs(tmp_path / "plan", spec)
    assert found == ["9 files when the run was planned, 11 now, and most in other places"]


@pytest.mark.parametrize("damage", [None, '["/in/a.png",'])
def test_without_a_plan_file_there_is_nothing_to_say(damage: str | None, write: Write, tmp_path: Path) -> None:
    if damage is not None:
        (tmp_path / "plan").write_text(damage)
    assert difference_of_inputs(tmp_path / "plan", write("files", 2)) == []


def test_an_input_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        state_of_inputs(InputSpec((str(tmp_path / "nothing"),), "auto", None))
