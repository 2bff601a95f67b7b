"""The entry script is saved again while its run goes on: never two scripts in one result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import daskbatch

# Says its version; its process dies in the sixth mini-batch, when it has been saved again.
SCRIPT = """
    import os
    import time
    from pathlib import Path

    NOTES = Path(__file__).parent / "notes"

    def run(mini_batch):
        if "f05" in mini_batch[0] and not (NOTES / "died").exists():
            (NOTES / "waits").touch()
            while not (NOTES / "saved").exists():
                time.sleep(0.01)
            (NOTES / "died").touch()
            os._exit(1)
        return ["old"]
"""


def save_again(path: Path, notes: Path, eventually: Callable[..., None]) -> None:
    eventually((notes / "waits").exists, "the sixth mini-batch")
    path.write_text(path.read_text().replace('"old"', '"new"'))
    (notes / "saved").touch()


def test_a_new_process_does_not_go_on_with_another_script(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str], eventually: Callable[..., None]
) -> None:
    # Given a run in the middle of its work
    path, inputs, notes = Path(script(SCRIPT)), files(20), tmp_path / "notes"
    notes.mkdir()
    editor = threading.Thread(target=save_again, args=(path, notes, eventually))
    editor.start()
    # When its script is saved, and its only process has to start again
    with pytest.raises(daskbatch.RunFailed, match=r"has changed since the run began.*--fresh"):
        daskbatch.run(
            path, inputs, output=tmp_path / "out", mini_batch_size=1, process_count_per_node=1, progress=False
        )
    editor.join()
    # Then the run stops, and the same command says what is the matter
    with pytest.raises(daskbatch.RunChanged, match=r"the entry script .* has changed"):
        daskbatch.run(path, inputs, output=tmp_path / "out", mini_batch_size=1, progress=False)
    # and with the script put back it is completed, all of one version
    path.write_text(path.read_text().replace('"new"', '"old"'))
    run = daskbatch.run(path, inputs, output=tmp_path / "out", mini_batch_size=1, progress=False)
    assert run.summary["items"] == {"total": 20, "succeeded": 20, "failed": 0}
    assert set(run.to_pandas()["result"]) == {"old"}


def test_modules_beside_the_script_count(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a completed run whose script imports a module, which imports another of a package
    entry = script("from helper import value\ndef run(mini_batch): return [value] * len(mini_batch)\n")
    (tmp_path / "helper.py").write_text("from parts.numbers import value\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "numbers.py").write_text("value = 1\n")
    (tmp_path / "other.py").write_text("")
    inputs = files(3)
    daskbatch.run(entry, inputs, output=tmp_path / "out", progress=False)
    # When a file that it does not import changes, it is the same run
    (tmp_path / "other.py").write_text("value = 3\n")
    assert daskbatch.run(entry, inputs, output=tmp_path / "out", progress=False).reused
    # When one changes that it does, it is not
    (tmp_path / "parts" / "numbers.py").write_text("value = 2\n")
    with pytest.raises(daskbatch.RunChanged, match=r"parts/numbers\.py beside the entry script"):
        daskbatch.run(entry, inputs, output=tmp_path / "out", progress=False)
