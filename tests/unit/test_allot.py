"""Which row goes where after failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from daskbatch.engine.allot import Allotment
from daskbatch.engine.backlog import Backlog
from daskbatch.engine.books import Books
from daskbatch.engine.places import Place, Places
from daskbatch.engine.rows import rest_of
from daskbatch.engine.under_way import Task
from daskbatch.types import OPEN_END, MiniBatch
from daskbatch.worker.task_report import TaskReport

FAILURE = {"phase": "run", "error": "OSError", "message": "no such device", "traceback": "", "retry": True}


class Cluster:
    """Nodes of one place each, a backlog, and what became of the rows that were sent."""

    def __init__(self, batches: Sequence[MiniBatch], *nodes: str) -> None:
        self.places = Places(cast(Any, None), cast(Any, None), "", lambda _: None)
        self.places.all = [Place(f"tcp://{node}:1", node, 1, (0,), node) for node in nodes]
        self.backlog = Backlog(iter(batches), len(batches), True, 2.0, cast(Books, Quiet()))
        self.allotment = Allotment(self.places, self.backlog)
        self.tasks: list[Task] = []

    def fill(self) -> dict[str, list[MiniBatch]]:
        """Send what fits; return what each node got."""
        got: dict[str, list[MiniBatch]] = {}
        while (allotted := self.allotment.next(idle=not self.tasks)) is not None:
            row, place = allotted
            self.tasks.append(Task(len(self.tasks), row, place))
            place.tasks += 1
            got.setdefault(place.node, []).extend(row)
        return got

    def report(self, node: str, succeeds: bool) -> int:
        """All tasks of a node come back; return how many mini-batches were in them."""
        count = 0
        for task in [task for task in self.tasks if task.place.node == node]:
            self.tasks.remove(task)
            task.place.tasks -= 1
            report = TaskReport(node)
            for batch in task.row:
                if succeeds:
                    report.succeed(*batch.key, 1, 1, 0.0)
                else:
                    report.fail({**FAILURE, "key": batch.key, "items": 1})
            report.whole = True
            again = [] if succeeds else list(task.row)
            rest = rest_of(task.row, report.as_dict())
            self.backlog.give_back(rest, again)
            self.allotment.learn(task, report.as_dict(), rest, again)
            count += len(task.row)
        return count


class Quiet:
    """Books that expect nothing."""

    watching_first = False


def batches(count: int) -> list[MiniBatch]:
    return [MiniBatch(number, 0, (f"/in/{number}",)) for number in range(count)]


def test_what_failed_on_a_node_is_tried_on_another() -> None:
    # Given one mini-batch that has failed on a node, and another that nobody has tried
    cluster = Cluster(batches(1), "a", "b")
    (node,) = cluster.fill()
    cluster.report(node, succeeds=False)
    # When it is sent again, then it goes to the other
    (other,) = cluster.fill()
    assert {node, other} == {"a", "b"}
    # and where it has failed on both, anywhere
    cluster.report(other, succeeds=False)
    assert len(cluster.fill()) == 1


def test_a_node_gets_something_else_while_the_other_is_busy() -> None:
    # Given that two mini-batches have failed on one node, and the other has no room for them
    cluster = Cluster(batches(6), "a", "b")
    failed = cluster.fill()["a"]
    assert cluster.report("a", succeeds=False) == len(failed) == 2
    # Then it gets what it has not had
    got = cluster.fill()["a"]
    assert got
    assert not set(failed) & set(got)


def test_a_node_with_failures_waits_for_the_verdict_of_the_other() -> None:
    cluster = Cluster(batches(60), "a", "b")
    failed = cluster.fill()["a"]
    assert len(failed) >= 3
    cluster.report("a", succeeds=False)
    # Given that much failed on one node: it gets nothing until the other has tried that
    assert cluster.fill() == {}
    cluster.report("b", succeeds=True)
    tried = cluster.fill()
    assert list(tried) == ["b"]
    assert set(failed) & set(tried["b"])
    # When it fails there too, it was no fault of the node's
    cluster.report("b", succeeds=False)
    while "a" not in (got := cluster.fill()):
        assert got
        cluster.report("b", succeeds=False)
    assert list(cluster.allotment.wrong_nodes()) == []


def test_a_node_is_left_out_once_the_other_has_done_what_failed_there() -> None:
    cluster = Cluster(batches(60), "a", "b")
    cluster.fill()
    cluster.report("a", succeeds=False)
    cluster.report("b", succeeds=True)
    assert list(cluster.allotment.wrong_nodes()) == []
    while not (wrong := list(cluster.allotment.wrong_nodes())):
        assert list(cluster.fill()) == ["b"]
        cluster.report("b", succeeds=True)
    (node, why), *others = wrong
    assert (node, others) == ("a", [])
    assert "OSError: no such device" in why
    # and that is said once
    assert list(cluster.allotment.wrong_nodes()) == []


def test_the_last_node_is_never_left_out() -> None:
    # Given a node where all failed that succeeded on another, which is gone since
    cluster = Cluster(batches(60), "a", "b")
    cluster.fill()
    cluster.report("a", succeeds=False)
    cluster.report("b", succeeds=True)
    while "b" in cluster.fill():
        cluster.report("b", succeeds=True)
    cluster.places.all = [place for place in cluster.places.all if place.node == "a"]
    # Then it is kept until there is one again
    assert list(cluster.allotment.wrong_nodes()) == []
    cluster.places.all.append(Place("tcp://c:1", "c", 1, (0,), "c"))
    assert [node for node, _ in cluster.allotment.wrong_nodes()] == ["a"]


@pytest.mark.parametrize("nodes", ["a", "ab", "abcde"])
def test_nothing_is_forgotten_whatever_fails(nodes: str) -> None:
    # Given nodes that fail and succeed by turns, each in its own rhythm
    cluster = Cluster(batches(200), *nodes)
    done = 0
    for turn in range(1000):
        cluster.fill()
        if not cluster.tasks:
            break
        node = nodes[turn % len(nodes)]
        succeeds = turn // len(nodes) % (2 + nodes.index(node)) == 1
        done += cluster.report(node, succeeds) * succeeds
    # Then all is done once
    assert done == 200


def test_the_end_of_a_stream_settles_what_failed_there(tmp_path: Path) -> None:
    # Given mini-batches of streams that failed on a node
    streams = [MiniBatch(number, 5, ("/in/s.gz",), start=1, stop=OPEN_END, size=1) for number in range(3)]
    cluster = Cluster(streams, "a", "b")
    (node,) = cluster.fill()
    cluster.report(node, succeeds=False)
    (other,) = cluster.fill()
    (task,) = cluster.tasks
    # When another node finds that the streams have ended before
    report = TaskReport(other)
    report.whole = True
    task.place.tasks -= 1
    cluster.tasks.clear()
    cluster.allotment.learn(task, report.as_dict(), [], [])
    # Then the first one may work again
    cluster.backlog.give_back(batches(9)[5:])
    assert set(cluster.fill()) == {"a", "b"}
