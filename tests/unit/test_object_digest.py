from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daskbatch.options.entry import entry_point
from daskbatch.options.object_digest import object_digest

NOTEBOOK = '''
import abc, collections, dataclasses, enum, functools, math, typing
import numpy as np

Item = typing.TypeVar("Item")
ALLOWED = {"cat", "dog", "bird", "fish"}
TABLE = {"sizes": (1, 2.5, ("a b", frozenset({"p", "q", "r"})))}
WEIGHTS = np.arange(5.0)

class Kind(enum.Enum):
    FIRST = "first"
    SECOND = 2

@dataclasses.dataclass(frozen=True)
class Setting:
    name: str = "n"
    sizes: list = dataclasses.field(default_factory=list)
    tags: frozenset = frozenset({"u", "v", "w"})

Point = collections.namedtuple("Point", "x y")

class Base(abc.ABC, typing.Generic[Item]):
    @abc.abstractmethod
    def run(self, mini_batch): ...

class Model(Base[int]):
    """Scores."""
    rate = 0.5
    names = {"one", "two", "three"}

    def __init__(self):
        super().__init__()
        self.zeta, self.alpha, self.kind = 1, 2, Kind.FIRST

    @property
    def half(self):
        return self.rate / 2

    def run(self, mini_batch):
        class Local:
            def __init__(self):
                self.one, self.two, self.three = 1, 2, 3
        return [helper(path) for path in mini_batch if path in {"x1", "x2", "x3"}] + [Local, Setting(), Point(1, 2)]

def helper(path, *, size=("d", 1)):
    """Help."""
    try:
        return math.sqrt(len(path)) + WEIGHTS.sum() if path in ALLOWED else TABLE
    except ValueError as error:
        return f"{error!r} in {size}"

def make(offset):
    def closed(mini_batch):
        return [offset, closed, lambda value: value + offset]
    return closed

def entry(mini_batch):
    return [helper(path) for path in mini_batch]

class_ = Model
instance = Model()
method = Model().run
closed = make({"free": 1})
partial = functools.partial(helper, size=3)
record = Setting
members = Kind
'''
"""What a notebook may hold; its last names are entries."""

ENTRIES = ("entry", "class_", "instance", "method", "closed", "partial", "record", "members")

PROGRAM = """
import sys
from daskbatch.options.object_digest import object_digest
file_name, first_line, source = sys.argv[1], int(sys.argv[2]), sys.argv[3]
exec(compile("\\n" * first_line + source, file_name, "exec"), globals())
for name in sys.argv[4:]:
    print(object_digest(globals()[name]))
"""


def digests(source: str, *names: str, file_name: str = "a.py", first_line: int = 0, hash_seed: int = 1) -> list[str]:
    """Digests of what `source` defines as the main program of a process of its own."""
    command = [sys.executable, "-c", PROGRAM, file_name, str(first_line), source, *names]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()


def test_the_same_code_has_the_same_digest_in_another_process() -> None:
    here = digests(NOTEBOOK, *ENTRIES)
    there = digests(NOTEBOOK, *ENTRIES, file_name="/tmp/ipykernel_7/55.py", first_line=300, hash_seed=22)
    assert dict(zip(ENTRIES, here, strict=True)) == dict(zip(ENTRIES, there, strict=True))
    assert len(set(here)) == len(ENTRIES)


def test_a_changed_helper_is_seen_in_another_process() -> None:
    changed = NOTEBOOK.replace("math.sqrt", "math.cos")
    assert changed != NOTEBOOK
    before, after = digests(NOTEBOOK, *ENTRIES), digests(changed, *ENTRIES, hash_seed=2)
    differ = {name for name, one, other in zip(ENTRIES, before, after, strict=True) if one != other}
    assert differ == {"entry", "class_", "instance", "method", "partial"}


def defined(source: str, name: str = "run") -> Any:
    """What `source` defines as a part of a main program."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "cell", "exec"), scope)
    return scope[name]


BASE = """
LIMIT = 3
LABELS = {"a": [1, 2]}
def helper(value): return value * LIMIT
def outer(captured):
    def run(mini_batch, scale=2, *, unit="m"):
        return [helper(x) * scale + captured for x in mini_batch] + ["text", LABELS, unit, 0.0]
    return run
run = outer(5)
class Model:
    rate = 0.5
    def __init__(self): self.state = 1
    def run(self, mini_batch): return [x * self.rate for x in mini_batch]
model = Model()
"""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("run", "* scale + captured", "* scale - captured"),
        ("run", '"text"', '"test"'),
        ("run", "0.0]", "-0.0]"),
        ("run", "0.0]", "0]"),
        ("run", "outer(5)", "outer(6)"),
        ("run", "scale=2", "scale=3"),
        ("run", 'unit="m"', 'unit="km"'),
        ("run", "LIMIT = 3", "LIMIT = 4"),
        ("run", "[1, 2]", "[2, 1]"),
        ("run", "return value *", "return value +"),
        ("Model", "rate = 0.5", "rate = 0.25"),
        ("Model", "x * self.rate", "x / self.rate"),
        ("model", "rate = 0.5", "rate = 0.25"),
        ("model", "self.state = 1", "self.state = 2"),
    ],
)
def test_a_change_is_seen(name: str, old: str, new: str) -> None:
    assert old in BASE
    assert object_digest(defined(BASE, name)) != object_digest(defined(BASE.replace(old, new), name))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 3  # at most"),
        ("\nclass Model", "\n\n\nUNUSED = 1\nclass Model"),
        ("    rate = 0.5", '    """Doc."""\n    rate = 0.5'),
    ],
)
def test_what_changes_nothing_is_not_seen(old: str, new: str) -> None:
    assert old in BASE
    for name in ("run", "Model", "model"):
        assert object_digest(defined(BASE, name)) == object_digest(defined(BASE.replace(old, new), name))


def test_it_makes_no_difference_whether_equal_constants_are_one_object() -> None:
    first, second = "def helper(x=(1, 'a b')): return 'a b'\n", "def run(mb): return helper(), 'a b', (1, 'a b')\n"
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(first, "cell 1", "exec"), scope)
    exec(compile(second, "cell 2", "exec"), scope)
    assert object_digest(scope["run"]) == object_digest(defined(first + second))


def test_looking_at_a_class_does_not_change_it() -> None:
    model = defined(BASE, "Model")
    before = object_digest(model)
    assert model.__annotations__ == {}
    model().run([1])
    assert object_digest(model) == before


def test_a_users_own_module_counts_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "scoring_of_this_test.py"
    file.write_text("def score(x): return x\n")
    import scoring_of_this_test as scoring  # type: ignore[import-not-found]

    monkeypatch.setitem(sys.modules, scoring.__name__, scoring)
    by_name, by_module = scoring.score, lambda mini_batch: [scoring.score(x) for x in mini_batch]
    before = object_digest(by_name), object_digest(by_module)
    file.write_text("def score(x): return -x\n")
    assert all(old != new for old, new in zip(before, (object_digest(by_name), object_digest(by_module)), strict=True))


def test_an_entry_that_is_an_object_has_its_digest_and_a_script_none(tmp_path: Path) -> None:
    script = tmp_path / "score.py"
    script.write_text("def run(mini_batch): return mini_batch\n")
    run: Callable[[Any], Any] = defined(BASE)
    assert entry_point(run).digest == object_digest(run)
    assert entry_point(str(script)).digest is None


class Odd:
    """Pickles once only."""

    def __init__(self) -> None:
        self.count = 0

    def run(self, mini_batch: list[str]) -> list[str]:
        return mini_batch

    def __reduce__(self) -> Any:
        self.count += 1
        if self.count > 1:
            raise OSError("gone")
        return Odd, ()


def test_an_object_without_a_digest_of_its_content_has_one_of_its_pickle() -> None:
    import hashlib

    point = entry_point(Odd())
    assert point.pickled is not None
    assert point.digest == hashlib.sha256(point.pickled).hexdigest()


def test_what_cannot_be_pickled_has_no_digest() -> None:
    with pytest.raises(TypeError):
        object_digest([threading.Lock()])
