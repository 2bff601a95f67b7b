"""What a run leaves behind and shows: no secret, few files, nothing that others may read."""

from __future__ import annotations

import os
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster

import daskbatch

CANARY = "canary-7f3a9c"
TOKEN = {"SERVICE_TOKEN": CANARY}

PAGES = (
    *("status", "info/main/workers.html", "info/main/exceptions.html", "info/main/logs.html", "info/main/calls.html"),
    *("info/main/events.html", "info/main/timeline.html", "json/counts.json", "json/identity.json", "json/index.html"),
    *("sitemap.json", "metrics", "health", "info/logs/{worker}.html", "info/worker/{worker}.html"),
    *("info/call-stacks/{worker}.html", "info/task/{key}.html", "info/call-stack/{key}.html"),
)
"""Of the scheduler's dashboard: all that it says about workers, tasks and their logs."""

# Waits in its first mini-batch until somebody has looked.
SCRIPT = """
    import os
    import sys
    import time
    from pathlib import Path

    notes = Path(sys.argv[1])

    def run(mini_batch):
        assert os.environ["SERVICE_TOKEN"].startswith("canary")
        (notes / "runs").touch()
        while not (notes / "looked").exists():
            time.sleep(0.01)
        if "f01" in mini_batch[0]:
            raise ValueError("no luck")
        return mini_batch
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """One worker process, and a dashboard."""
    with LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0", worker_dashboard_address="127.0.0.1:0"
    ) as ours:
        yield ours


def read(url: str) -> str:
    """A page, or what the server says in its place."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        return error.read().decode("utf-8", "replace")


def test_a_secret_is_in_no_file_no_command_line_and_on_no_page(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str], eventually: Callable[..., None],
    cluster: LocalCluster,
) -> None:  # fmt: skip
    notes, out = tmp_path / "notes", tmp_path / "out"
    notes.mkdir()
    entry, inputs = script(SCRIPT), files(4)
    options: dict[str, Any] = {"environment_variables": TOKEN, "logging_level": "DEBUG", "mini_batch_size": 1}
    with Client(cluster, set_as_default=False) as client:
        # Given a run with a secret in its environment, at work on a cluster with a dashboard
        work = threading.Thread(
            target=daskbatch.run, args=(entry, inputs), daemon=True,
            kwargs={"output": out, "client": client, "progress": False, "arguments": [notes], **options},
        )  # fmt: skip
        work.start()
        eventually((notes / "runs").exists, "the first run()")
        # When everything is read that can be read
        base = client.dashboard_link.rpartition("/")[0]
        scheduler: Any = cluster.scheduler
        (worker,), keys = scheduler.workers, list(scheduler.tasks)
        shown = {
            page: read(f"{base}/{page.format(worker=urllib.request.quote(worker, safe=''), key=keys[0])}")
            for page in PAGES
        }
        lines = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
        (notes / "looked").touch()
        work.join(60)
        assert not work.is_alive()
    # Then the secret is not there
    assert len(keys) > 0
    assert "daskbatch" in "".join(shown.values())  # the pages do tell of the run
    assert [page for page, text in shown.items() if CANARY in text] == []
    assert len(lines) >= 2
    assert [line for line in lines if CANARY in line] == []
    for path in out.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    assert (out / "failed_items.jsonl").exists()


def test_others_may_not_read_the_state_of_a_run(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str]
) -> None:
    before = os.umask(0)
    try:
        daskbatch.run(
            script("def run(mini_batch): return mini_batch[1:]"), files(4), output=tmp_path / "out", progress=False
        )
    finally:
        os.umask(before)
    state = tmp_path / "out" / ".daskbatch"
    for path in (state, *state.rglob("*")):
        if path.is_dir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        else:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.parent != state, path


def test_the_files_of_a_run_are_few(tmp_path: Path, script: Callable[..., str]) -> None:
    # Given 100,000 mini-batches
    inputs = tmp_path / "in"
    inputs.mkdir()
    for number in range(100_000):
        os.close(os.open(inputs / f"{number:06}", os.O_CREAT | os.O_WRONLY))
    # When two slots have done them, with a runner that was lost on the way
    run = daskbatch.run(
        script("""
            import os
            def run(mini_batch):
                if mini_batch[0].endswith("050000") and not os.path.exists(__file__ + ".died"):
                    open(__file__ + ".died", "w").close()
                    os._exit(3)
                return [0]
        """),
        inputs, output=tmp_path / "out", mini_batch_size=1, process_count_per_node=2, progress=False,
        allowed_failed_count=0,
    )  # fmt: skip
    assert run.summary["mini_batches"]["succeeded"] == 100_000
    assert run.summary["tries"] == 100_001
    # Then files are counted in slots and not in mini-batches: for each its logs, and of the run some twenty
    made = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(made) <= 2 * 6 + 20, made
