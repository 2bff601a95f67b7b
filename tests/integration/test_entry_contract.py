"""What an entry script may rely on, as real runners keep it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import daskbatch
from daskbatch.engine.backlog import Backlog
from daskbatch.events import TaskFinished

NODE = socket.gethostname()


def results(run: daskbatch.Run) -> list[Any]:
    """The lines of a ``.jsonl`` result: the values of each row."""
    assert run.output_file is not None
    return [list(json.loads(line).values()) for line in run.output_file.read_text().splitlines()]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., daskbatch.Run]:
    """Run an entry script on one slot, one item a mini-batch, into JSON lines."""

    def start(entry: object, inputs: object, **options: Any) -> daskbatch.Run:
        own = {"mini_batch_size": 1, "process_count_per_node": 1, "append_row_file_name": "out.jsonl"}
        return daskbatch.run(entry, inputs, output=tmp_path / "out", progress=False, **{**own, **options})

    return start


# What is there when the script is imported


def test_arguments_are_there_while_the_script_is_imported(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str]
) -> None:
    # Given a script that parses its arguments at module level
    entry = script("""
        import argparse
        import sys

        parser = argparse.ArgumentParser()
        parser.add_argument("--model")
        options, unknown = parser.parse_known_args()
        first = sys.argv[0]

        def run(mini_batch):
            return [[options.model, unknown, first, sys.argv[1:]]]
        """)
    # When it gets some
    done = run(entry, files(1), arguments=["--model", "m.keras", "--other", 5])
    # Then they are there, as text, behind the script's own path
    assert results(done) == [["m.keras", ["--other", "5"], entry, ["--model", "m.keras", "--other", "5"]]]


def test_siblings_can_be_imported_and_files_beside_the_script_be_found(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Given a script with a module, a package and a data file beside it
    script("VALUE = 1\n", "code/sibling.py")
    script("from package.inner import VALUE\n", "code/package/__init__.py")
    script("VALUE = 2\n", "code/package/inner.py")
    (tmp_path / "code" / "labels.txt").write_text("cat dog")
    entry = script(
        """
        from pathlib import Path

        import package
        import sibling

        labels = Path(__file__).with_name("labels.txt").read_text().split()

        def run(mini_batch):
            return [[sibling.VALUE, package.VALUE, labels, __file__, __name__]]
        """,
        "code/score.py",
    )
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    done = run(entry, files(1))
    # Then it finds them; and it knows its own name
    assert results(done) == [[1, 2, ["cat", "dog"], entry, "score"]]
    # and nothing was written beside it
    assert not list((tmp_path / "code").rglob("*.pyc"))


def test_environment_variables(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    entry = script("""
        import os

        at_import = os.environ.get("MY_SETTING")

        def run(mini_batch):
            return [[at_import, os.environ["AZUREML_BI_OUTPUT_PATH"], os.environ["OMP_NUM_THREADS"]]]
        """)
    done = run(entry, files(1), environment_variables={"MY_SETTING": "on", "OMP_NUM_THREADS": 1})
    assert results(done) == [["on", str(tmp_path / "out"), "1"]]
    # and the summary names them without their values
    assert done.summary["options"]["environment_variables"] == ["MY_SETTING", "OMP_NUM_THREADS"]
    assert "MY_SETTING" not in os.environ


# init, run, shutdown


def test_init_is_called_once_in_each_process_and_shutdown_at_its_end(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    # Given a script that writes down what is called, in which process
    entry = script("""
        import os
        from daskbatch import EntryScript

        def note(what):
            with open(os.path.join(EntryScript().output_dir, "calls.txt"), "a") as file:
                file.write(f"{os.getpid()} {what}\\n")

        def init():
            note("init")

        def run(mini_batch):
            note("run")
            return mini_batch

        def shutdown():
            note("shutdown")
        """)
    # When it runs in two
    run(entry, files(12), process_count_per_node=2, task_seconds=0.001)
    # Then each began with init, ended with shutdown, and called neither in between
    calls: dict[str, list[str]] = {}
    for line in (tmp_path / "out" / "calls.txt").read_text().splitlines():
        process, what = line.split()
        calls.setdefault(process, []).append(what)
    assert 1 <= len(calls) <= 2
    for of_one in calls.values():
        assert of_one == ["init", *["run"] * (len(of_one) - 2), "shutdown"]
    assert sum(len(of_one) - 2 for of_one in calls.values()) == 12


def test_an_init_that_takes_long_does_not_make_mini_batches_seem_long(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an init() of two seconds, and a look at what the length of later rows is judged by
    entry = script("""
        import time

        def init():
            time.sleep(2)

        def run(mini_batch):
            return mini_batch
        """)
    learned: list[float] = []
    whole = []
    learn = Backlog.learn

    def look(backlog: Backlog, row: Any, done: int, seconds: float) -> None:
        learned.append(seconds)
        learn(backlog, row, done, seconds)

    monkeypatch.setattr(Backlog, "learn", look)
    # When it runs in one process
    run(entry, files(12), listeners=[lambda event: whole.append(event) if isinstance(event, TaskFinished) else None])
    # Then the time of the first task that is judged by is without that, and of the others it is all
    starts = [event.seconds - seconds for event, seconds in zip(whole, learned, strict=True)]
    assert len(starts) >= 2
    assert [start >= 2 for start in starts] == [True] + [False] * (len(starts) - 1)


def test_a_new_process_after_a_crash_has_its_own_init(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str]
) -> None:
    entry = script("""
        import os

        ready = 0

        def init():
            global ready
            ready += 1

        def run(mini_batch, context):
            if mini_batch[0].endswith("f02.bin") and context.retry_count == 0:
                os._exit(9)
            return [[ready, context.retry_count]]
        """)
    done = run(entry, files(4))
    assert results(done) == [[1, 0], [1, 0], [1, 1], [1, 0]]


@pytest.mark.parametrize("error", ["RuntimeError('too late to matter')", "SystemExit(3)"])
@pytest.mark.parametrize("compute", ["local", "serial"])
def test_a_shutdown_that_raises_does_not_harm_the_result(
    compute: str, error: str, run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str]
) -> None:
    entry = script(f"""
        def run(mini_batch):
            return mini_batch

        def shutdown():
            raise {error}
        """)
    done = run(entry, files(4), compute=compute)
    assert done.status == "Completed"
    assert len(results(done)) == 4


@pytest.mark.parametrize("compute", ["local", "serial"])
def test_an_init_that_exits_has_failed(
    compute: str, run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str]
) -> None:
    entry = script("""
        import sys

        def init():
            sys.exit()

        def run(mini_batch):
            return mini_batch
        """)
    with pytest.raises(daskbatch.InitFailed, match="ExitedEarly") as caught:
        run(entry, files(2), compute=compute)
    assert caught.value.summary is not None
    assert caught.value.summary["status"] == "Failed"


# EntryScript and what the script writes


def test_entry_script_knows_the_run(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    # Given a script that uses all that EntryScript has
    entry = script("""
        import os
        from daskbatch import EntryScript

        me = EntryScript()

        def init():
            me.logger.info("loading")
            me.logger.debug("not at this level")

        def run(mini_batch):
            EntryScript().logger.warning("odd: %s", os.path.basename(mini_batch[0]))
            scratch = os.path.join(me.working_dir, "scratch")
            open(scratch, "w").close()
            return [[me.output_dir, me.log_dir, me.agent_name, scratch, EntryScript() is me]]
        """)
    done = run(entry, files(1))
    ((output, logs, agent, scratch, same),) = results(done)
    # Then its folders are the run's
    assert output == str(tmp_path / "out")
    assert logs == str(tmp_path / "out" / "logs" / "user")
    assert agent == f"{NODE}/process000"
    assert same
    # and scratch files go with the run
    assert not Path(scratch).exists()
    # and its log is under the name that users look for
    log = tmp_path / "out" / "logs" / "user" / "entry_script_log" / NODE / "process000.log.txt"
    lines = [line.split("|") for line in log.read_text().splitlines()]
    assert [(line[1], line[3]) for line in lines] == [("INFO", "loading"), ("WARNING", "odd: f00.bin")]


def test_logging_level(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    entry = script("""
        from daskbatch import EntryScript

        def run(mini_batch):
            EntryScript().logger.debug("in detail")
            return mini_batch
        """)
    run(entry, files(1), logging_level="DEBUG")
    log = tmp_path / "out" / "logs" / "user" / "entry_script_log" / NODE / "process000.log.txt"
    assert log.read_text().rstrip().endswith("|in detail")


def test_prints_and_errors_are_kept_by_process(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    # Given a script that prints, also from below Python, and that fails once
    entry = script("""
        import logging
        import os
        import sys

        print("imported")
        logging.basicConfig(level="INFO")

        def run(mini_batch, context):
            print("hello from run")
            os.write(1, b"from below\\n")
            print("to stderr", file=sys.stderr)
            logging.getLogger("mine").info("my own logger")
            if context.retry_count == 0:
                raise ValueError("kept in the error file")
            return mini_batch
        """)
    run(entry, files(1))
    # Then each stream is in the file of its process
    user = tmp_path / "out" / "logs" / "user"
    out = (user / "stdout" / NODE / "process000.stdout.txt").read_text()
    assert out.splitlines() == ["imported", *["hello from run", "from below"] * 2]
    err = (user / "stderr" / NODE / "process000.stderr.txt").read_text()
    assert err.splitlines() == ["to stderr", "INFO:mine:my own logger"] * 2
    error = (user / "error" / NODE / "process000.error.txt").read_text()
    assert "kept in the error file" in error
    assert "score.py" in error


# source_directory


def test_the_source_directory_is_copied_once_and_the_copy_is_run(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    # Given a source directory whose script imports a module when it is already running
    script("WORD = 'as it was'\n", "source/lib/words.py")
    script(
        """
        import os
        import sys

        def init():
            # What its author changes now must not matter any more.
            with open(os.path.join(sys.argv[1], "lib", "words.py"), "w") as file:
                file.write("WORD = 'changed meanwhile'")

        def run(mini_batch):
            from lib.words import WORD
            return [[WORD, __file__]]
        """,
        "source/inner/score.py",
    )
    source = tmp_path / "source"
    # When it runs, and the original changes after the start
    done = run("inner/score.py", files(2), source_directory=source, arguments=[source])
    # Then the copy is what ran
    words = {word for word, _ in results(done)}
    paths = {Path(path) for _, path in results(done)}
    assert words == {"as it was"}
    assert all(path.is_relative_to(tmp_path / "out" / ".daskbatch") for path in paths)
    assert all(path.parts[-2:] == ("inner", "score.py") for path in paths)
    assert "changed meanwhile" in (source / "lib" / "words.py").read_text()


def test_summary_only_leaves_the_results_to_the_script(
    run: Callable[..., Any], script: Callable[..., str], files: Callable[[int], str], tmp_path: Path
) -> None:
    entry = script("""
        import os

        class Odd:
            pass

        def run(mini_batch):
            name = os.path.basename(mini_batch[0])
            open(os.path.join(os.environ["AZUREML_BI_OUTPUT_PATH"], name + ".mine"), "w").close()
            return [Odd()]
        """)
    done = run(entry, files(3), output_action="summary_only")
    # Then its own files are there, the results were counted, and there is no combined file
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mine")) == [f"f0{n}.bin.mine" for n in range(3)]
    assert done.summary["items"] == {"total": 3, "succeeded": 3, "failed": 0}
    assert done.summary["output"] is None
    assert done.output_file is None
    assert not (tmp_path / "out" / "out.jsonl").exists()
    with pytest.raises(daskbatch.UsageError, match="no combined file"):
        done.to_pandas()
