"""What a slot tells before a task ends, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from daskbatch.worker import news
from daskbatch.worker.news import News
from daskbatch.worker.task_report import TaskReport


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(news.time, "monotonic", lambda: now[0])
    return now


def failure(index: int) -> dict[str, Any]:
    return {"key": (0, index), "items": 1}


@pytest.mark.parametrize(("quiet", "failures", "progress"), [(0.0, 0.2, 1.0), (5.0, 5.0, 5.0)])
def test_the_first_failure_is_told_at_once_and_the_rest_not_too_often(
    clock: list[float], quiet: float, failures: float, progress: float
) -> None:
    told: list[dict[str, Any]] = []
    report = TaskReport("node", "process000")
    tells = News(report, 7, told.append, quiet)
    assert tells.due() is None
    # At once
    report.fail(failure(0))
    assert tells.due() is None
    assert [(one["task"], one["failures"]) for one in told] == [(7, [failure(0)])]
    # The next one, when it is time
    report.fail(failure(1))
    assert tells.due() == pytest.approx(failures)
    clock[0] += failures
    assert tells.due() is None
    assert told[1]["failures"] == [failure(1)]
    # So with progress
    report.succeed(0, 2, 1, 1, 0.1)
    assert tells.due() == pytest.approx(progress)
    clock[0] += progress
    assert tells.due() is None
    assert told[2]["done"] == report.done
    assert len(told) == 3
