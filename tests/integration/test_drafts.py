"""The result is begun while mini-batches are still run, and comes to what the serial way makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import eager_drafts
import pytest

import daskbatch
from daskbatch.errors import ThresholdExceeded
from daskbatch.store import draft
from daskbatch.store.combine import Combined

# One mini-batch fails always, one at its first try, and each tenth has nothing to say.
SCRIPT = """
    from pathlib import Path

    def init():
        global tried
        tried = set()

    def run(mini_batch):
        number = int(Path(mini_batch[0]).stem[1:])
        if number == 7 or (number == 20 and number not in tried):
            tried.add(number)
            raise ValueError(number)
        return [] if number % 10 == 0 else [{"number": number, "text": "x" * number}]
"""


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Combined | None]:
    """Have the smallest result begun early, and whatever the load; tell what became of it at the end."""
    eager_drafts.install(monkeypatch.setattr)
    found = []
    publish = draft.Draft.publish

    def tell(one: draft.Draft, *given: Any) -> Combined | None:
        found.append(publish(one, *given))
        return found[-1]

    monkeypatch.setattr(draft.Draft, "publish", tell)
    return found


def left_in(output: Path) -> list[str]:
    """Names of temporary files."""
    return [path.name for path in output.rglob("*.tmp")]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "txt"])
def test_it_is_the_serial_result(
    suffix: str,
    script: Callable[..., str],
    files: Callable[[int], str],
    oracle: Callable[..., bytes],
    published: list[Combined | None],
    tmp_path: Path,
) -> None:
    entry, inputs = script(SCRIPT), files(60)
    options: dict[str, Any] = {
        "mini_batch_size": 1, "error_threshold": -1, "append_row_file_name": f"out.{suffix}",
    }  # fmt: skip
    run = daskbatch.run(
        entry, inputs, output=tmp_path / "out", process_count_per_node=2, task_seconds=0.001, progress=False, **options
    )
    (combined,) = published
    assert combined is not None
    assert run.summary["output"] == {name: getattr(combined, name) for name in ("name", "rows", "bytes", "sha256")}
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, inputs, **options)
    assert left_in(tmp_path / "out") == []


def test_of_a_run_that_is_stopped_it_is_the_partial_result(
    script: Callable[..., str], files: Callable[[int], str], published: list[Combined | None], tmp_path: Path
) -> None:
    # Given a run with more failures than are allowed, in its later half
    entry = script("""
        import sys
        from pathlib import Path

        def run(mini_batch):
            number = int(Path(mini_batch[0]).stem[1:])
            if number > 40:
                raise ValueError(number)
            with open(sys.argv[1], "a") as notes:
                notes.write(f"{number}\\n")
            return [number]
        """)
    # When it is stopped
    with pytest.raises(ThresholdExceeded):
        daskbatch.run(
            entry, files(60), output=tmp_path / "out", mini_batch_size=1, error_threshold=3, run_max_try=1,
            process_count_per_node=1, task_seconds=0.001, progress=False, append_row_file_name="out.csv",
            arguments=[str(tmp_path / "notes")],
        )  # fmt: skip
    # Then what was written by then is its beginning, and all that was done is there: short tasks change places
    (combined,) = published
    assert combined is not None
    lines = (tmp_path / "out" / "out.partial.csv").read_text().split()
    done = sorted(map(int, (tmp_path / "notes").read_text().split()))
    assert len(done) > 20
    assert lines == ["result", *map(str, done)]
    assert not (tmp_path / "out" / "out.csv").exists()
    assert left_in(tmp_path / "out") == []
