"""The tasks that Dask has at this moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daskbatch.engine.places import Place
from daskbatch.types import MiniBatch
from daskbatch.worker.task_report import TaskReport

if TYPE_CHECKING:
    from distributed import Future

__all__ = ["Task", "UnderWay", "report_of_lost"]


@dataclass(slots=True)
class Task:
    """A row under way."""

    number: int
    row: list[MiniBatch]
    place: Place


class UnderWay:
    """Tasks by their future and by their number; counts those of each place."""

    def __init__(self) -> None:
        self._tasks: dict[Future[Any], Task] = {}
        self._numbered: dict[int, Task] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, future: Future[Any], task: Task) -> None:
        """A task was sent."""
        self._tasks[future] = self._numbered[task.number] = task
        task.place.tasks += 1

    def get(self, number: int) -> Task | None:
        """The task of that number, None if it is no longer under way."""
        return self._numbered.get(number)

    def firsts(self) -> Iterator[tuple[int, int]]:
        """The key of each task's first mini-batch."""
        return (task.row[0].key for task in self._tasks.values())

    def rows(self) -> Iterator[list[MiniBatch]]:
        """The row of each task."""
        return (task.row for task in self._tasks.values())

    def take(self, future: Future[Any]) -> Task | None:
        """Strike a task off. None: it was before."""
        task = self._tasks.pop(future, None)
        if task is not None:
            del self._numbered[task.number]
            task.place.tasks -= 1
        return task

    def cancel(self, place: Place | None = None) -> Iterator[Task]:
        """Strike off the tasks (of `place`) in the order they were sent, and have Dask forget them."""
        for future, task in list(self._tasks.items()):
            if place is None or task.place is place:
                self.take(future)
                future.cancel()
                yield task


def report_of_lost(task: Task, batch: MiniBatch) -> dict[str, Any]:
    """A report for a task that never gave one: its worker was lost, and `batch` has spent a try."""
    report = TaskReport(task.place.node)
    message = f"worker {task.place.address} was lost, for the third time with this mini-batch under way"
    lost = {"phase": "run", "error": "WorkerLost", "message": message, "traceback": "", "retry": True, "rest": True}
    report.fail({**lost, "key": batch.key, "items": None})
    return report.as_dict()
