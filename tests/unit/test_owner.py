"""Whether an engine's process is gone, as far as that can be known from here."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from daskbatch.engine import owner
from daskbatch.engine.owner import is_gone, this_process


def process_of_another(pid: int) -> dict[str, object]:
    """As `this_process`, for a child."""
    return {**this_process(), "pid": pid, "started": owner._started(pid)}


def test_this_process_is_there() -> None:
    me = this_process()
    assert me["pid"] == os.getpid()
    assert me["host"] in me["place"]
    assert not is_gone(me)


def test_a_process_that_has_ended_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        there = process_of_another(child.pid)
        assert not is_gone(there)
    assert is_gone(there)


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    there = process_of_another(child.pid)
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert is_gone(there)
    child.communicate()


def test_a_process_number_that_was_given_again_is_another_process() -> None:
    assert is_gone({**this_process(), "started": this_process()["started"] - 60})


def test_a_clock_that_is_set_does_not_make_another_process_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells when a process started without the wall clock")
    me, created = this_process(), psutil.Process.create_time
    # psutil takes the boot for that much later than it was.
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + 86_400)
    assert not is_gone(me)


def test_of_a_process_at_another_place_nothing_is_known() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        there = {**this_process(), "pid": child.pid, "place": "another host, or another boot of this one"}
    assert not is_gone(there)


def test_of_a_process_that_may_not_be_looked_at_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(pid: int) -> None:
        raise psutil.AccessDenied(pid)

    me = this_process()
    monkeypatch.setattr(psutil, "Process", denied)
    assert not is_gone(me)


def test_a_process_of_an_earlier_boot_of_this_machine_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    place = "host this-boot pid:[1] machine"
    monkeypatch.setattr(owner, "_place", lambda: place)
    me = this_process()
    assert not is_gone(me)
    assert is_gone({**me, "place": place.replace("this", "earlier")})
    for other in (
        place.replace("[1]", "[2]"),  # another container
        "another-host other-boot pid:[1] machine",
        "host other-boot pid:[1] another-machine",
        "host other-boot pid:[1]",
    ):
        assert not is_gone({**me, "place": other})
