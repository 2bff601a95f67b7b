"""What a signal does, by when it comes."""

from __future__ import annotations

import os
import queue
import signal

import pytest

from daskbatch.engine import signals
from daskbatch.engine.signals import Interrupts


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_it_is_raised_where_nobody_listens() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        interrupt()
    assert interrupts.exit_code == 130
    assert interrupts.inbox.empty()


def test_who_listens_gets_each() -> None:
    with Interrupts() as interrupts:
        interrupts.listening = True
        interrupt()
        interrupt()
    assert [interrupts.inbox.get_nowait() for _ in range(2)] == [signal.SIGINT] * 2


def test_who_listens_and_does_not_come_to_them_is_left_at_a_third(monkeypatch: pytest.MonkeyPatch) -> None:
    with Interrupts() as interrupts:
        interrupts.listening = True
        for _ in range(3):  # three in a row are one impatient person
            interrupt()
        assert interrupts.inbox.qsize() == 3
        monkeypatch.setattr(signals, "_PATIENCE", 0.0)
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_while_the_result_gets_its_name_none_is_raised() -> None:
    with Interrupts() as interrupts:
        interrupts.hold()
        for _ in range(3):
            interrupt()
        interrupts.decide()
        interrupts.release()
        assert interrupts.inbox.qsize() == 3
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_where_it_gets_none_after_all_the_next_is_raised() -> None:
    with Interrupts() as interrupts:
        interrupts.hold()
        interrupts.release()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_once_the_result_is_decided_the_first_ends_waits_and_the_second_is_raised() -> None:
    with Interrupts() as interrupts:
        interrupts.decide()
        interrupt()
        interrupts.decide()  # which a second time changes nothing
        assert interrupts.inbox.get_nowait() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        with pytest.raises(queue.Empty):
            interrupts.inbox.get_nowait()


def test_what_was_heard_while_somebody_listened_is_no_second_one() -> None:
    with Interrupts() as interrupts:
        interrupts.listening = True
        interrupt()
        interrupts.listening = False
        interrupts.decide()
        interrupt()
    assert interrupts.inbox.qsize() == 2
