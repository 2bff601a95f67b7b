"""A plan that is stored is the same plan."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from daskbatch.plan import make_plan, read_plan
from daskbatch.plan_inputs import InputState
from daskbatch.plan_record import Plan, plan_from_json
from daskbatch.spec import InputSpec
from daskbatch.types import MiniBatchSize, TableFormat

NUMBERS = st.integers(0, 2**62)
TEXT = st.text(max_size=10)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
SIZES = st.builds(MiniBatchSize, st.sampled_from(["files", "bytes", "rows"]), NUMBERS)
NAMES = st.lists(TEXT, max_size=3).map(tuple)
TABLES = st.builds(
    TableFormat, TEXT, SIZES, TEXT, st.booleans(), TEXT, st.booleans(), PAIRS, PAIRS, TEXT,
    selection=NAMES, fields=NUMBERS,
)  # fmt: skip
PLANS = st.builds(
    Plan,
    path=st.just(Path("/state/plan.jsonl")),
    format=st.sampled_from(["files", "csv", "jsonl", "parquet"]),
    table=st.none() | TABLES,
    size=SIZES,
    files=NUMBERS,
    mini_batches=st.none() | NUMBERS,
    estimate=NUMBERS,
    input_bytes=NUMBERS,
    description=TEXT,
    skipped=st.lists(TEXT, max_size=3).map(tuple),
    inputs=st.none() | st.builds(InputState, NUMBERS, NUMBERS, TEXT),
)


@given(plan=PLANS)
def test_there_and_back(plan: Plan) -> None:
    values = plan.as_json()
    stored = json.loads(json.dumps(values))
    assert stored == values  # no tuple, no path: JSON values alone
    assert plan_from_json(stored, plan.path) == plan


def test_what_was_planned_is_read_from_what_was_stored(tmp_path: Path) -> None:
    # Given a plan of tables, one of them empty
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "in" / "b.csv").touch()
    spec = InputSpec((str(tmp_path / "in"),), "auto", MiniBatchSize("bytes", 5), dtype=(("a", "string"),))
    plan = make_plan(spec, tmp_path / "plan.jsonl")
    # When it is stored, and its file moved
    (tmp_path / "plan.jsonl").rename(tmp_path / "moved.jsonl")
    again = plan_from_json(json.loads(json.dumps(plan.as_json())), tmp_path / "moved.jsonl")
    # Then it gives mini-batches, columns and all
    assert len(list(read_plan(again))) == plan.mini_batches == 3
    assert again.table is not None
    assert again.table.columns == (("a", "string"), ("b", "string"))
    assert again.inputs == plan.inputs
