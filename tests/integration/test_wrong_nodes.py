"""A node where work fails that succeeds elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from programs import nodes

import daskbatch
from daskbatch.events import AttemptFailed, Event, Notice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a second node is a second loopback address")

# Where the variable is set, all fails, and at once; elsewhere nothing goes on before something has failed there.
SCRIPT = """
    import os
    import sys
    import time
    from pathlib import Path

    failed = Path(sys.argv[1])
    broken = os.environ.get("DASKBATCH_TEST_BROKEN")

    def run(mini_batch):
        if broken:
            failed.touch()
            raise OSError("no such device")
        while not failed.exists():
            time.sleep(0.01)
        return [os.path.basename(path) for path in mini_batch]
"""
OPTIONS: dict[str, Any] = {"mini_batch_size": 1, "append_row_file_name": "result.txt"}


def test_a_node_where_everything_fails_is_left_out(
    tmp_path: Path, script: Callable[..., str], files: Callable[[int], str], oracle: Callable[..., bytes]
) -> None:  # fmt: skip
    # Given two nodes, of which one is the quickest of all, for it only fails
    entry, inputs, told = script(SCRIPT), files(99), list[Event]()
    arguments = [str(tmp_path / "failed")]
    with (
        nodes(tmp_path, {}, {"DASKBATCH_TEST_BROKEN": "1"}) as (scheduler, _),
        Client(scheduler_file=scheduler, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        # When a run uses both
        run = daskbatch.run(
            entry, inputs, output=tmp_path / "out", client=client, arguments=arguments, process_count_per_node=1,
            listeners=[told.append], progress=False, **OPTIONS,
        )  # fmt: skip
    # Then nothing is missing
    assert run.output_file is not None
    assert run.output_file.read_bytes() == oracle(entry, inputs, arguments=arguments, **OPTIONS)
    assert run.failed_items() == []
    # and the node is named, with what went wrong there
    notices = [event.message for event in told if isinstance(event, Notice) and "left out" in event.message]
    assert len(notices) == 1
    assert notices[0].startswith("node 127.0.0.2 is left out: ")
    assert "no such device" in notices[0]
    # and it got no more than the two rows that it had from the start, and nothing twice
    failures = Counter(event.mini_batch for event in told if isinstance(event, AttemptFailed))
    assert 3 <= len(failures) <= 2 * 17
    assert set(failures.values()) == {1}
