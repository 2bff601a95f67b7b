from __future__ import annotations

from pathlib import Path

from daskbatch.api.run_logs import LogReader


def test_a_log_that_was_emptied_is_read_from_its_beginning(tmp_path: Path) -> None:
    # Given what a process has printed, read so far
    path = tmp_path / "user" / "stdout" / "n1" / "process000.stdout.txt"
    path.parent.mkdir(parents=True)
    path.write_text("one\ntwo\nthree\npart")
    logs = LogReader(tmp_path, user=True)
    assert list(logs.new_lines(ended=False)) == [f"n1/process000: {word}" for word in ("one", "two", "three")]
    # When its supervisor empties it, as it has grown too large, then what comes next is told
    path.write_text("dropped\n")
    assert list(logs.new_lines(ended=False)) == ["n1/process000: dropped"]
    with path.open("a") as file:
        file.write("four\nfive")
    assert list(logs.new_lines(ended=False)) == ["n1/process000: four"]
    assert list(logs.new_lines(ended=True)) == ["n1/process000: five"]
