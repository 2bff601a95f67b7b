from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daskbatch.errors import EntryScriptError
from daskbatch.worker.script import Context, Script, check_script_source, load_object, load_script

CONTEXT = Context("3-17", {}, None, 0, None)


@pytest.fixture(autouse=True)
def same_interpreter() -> Iterator[None]:
    argv, path, modules = sys.argv[:], sys.path[:], set(sys.modules)
    yield
    sys.argv, sys.path[:] = argv, path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def written(folder: Path, source: str, name: str = "score.py") -> str:
    path = folder / name
    path.write_text(source)
    return str(path)


def ran(script: Script, mini_batch: object = (1, 2)) -> Any:
    script.init()
    return script.run(mini_batch, CONTEXT)


# Loading a file


def test_a_script_of_run_alone(tmp_path: Path) -> None:
    script = load_script(written(tmp_path, "def run(batch):\n    return [x + 1 for x in batch]"), [], None)
    assert ran(script) == [2, 3]
    script.shutdown()
    assert script.file == str(tmp_path / "score.py")


def test_init_run_shutdown_in_order(tmp_path: Path) -> None:
    source = (
        "calls = []\ndef init():\n    calls.append('init')\n"
        "def run(batch):\n    calls.append('run')\n    return calls\ndef shutdown():\n    calls.append('shutdown')"
    )
    script = load_script(written(tmp_path, source), [], None)
    calls = ran(script)
    script.shutdown()
    assert calls == ["init", "run", "shutdown"]


def test_arguments_and_path_are_there_at_import(tmp_path: Path) -> None:
    (tmp_path / "top.py").write_text("value = 'top'")
    package = tmp_path / "deep"
    package.mkdir()
    (package / "sibling.py").write_text("value = 'sibling'")
    source = (
        "import argparse, os, sibling, top\nparser = argparse.ArgumentParser()\nparser.add_argument('--model')\n"
        "model = parser.parse_known_args()[0].model\n"
        "def run(batch):\n    return [model, sibling.value, top.value, os.path.basename(__file__), __name__]"
    )
    script = load_script(written(package, source), ["--model", "m.keras", "--other"], str(tmp_path))
    assert ran(script) == ["m.keras", "sibling", "top", "score.py", "score"]
    assert sys.argv == [str(package / "score.py"), "--model", "m.keras", "--other"]
    assert sys.path[0] == str(package)


def test_the_module_can_be_imported_by_its_siblings_and_by_pickle(tmp_path: Path) -> None:
    (tmp_path / "sibling.py").write_text("def same(cls):\n    import score\n    return score.Model is cls")
    source = (
        "import pickle, sibling\nclass Model: pass\n"
        "def run(batch):\n    return [sibling.same(Model), type(pickle.loads(pickle.dumps(Model()))) is Model]"
    )
    assert ran(load_script(written(tmp_path, source), [], None)) == [True, True]


def test_a_script_named_like_a_loaded_module_takes_nobodys_place(tmp_path: Path) -> None:
    import json

    script = load_script(written(tmp_path, "def run(batch):\n    return [__name__]", "json.py"), [], None)
    assert ran(script) == ["entry_script_json"]
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("name", "beside", "module"),
    [
        ("score-images.py", "score_images.py", "score_images"),
        ("predict.py", "predict/__init__.py", "predict"),
        ("predict", "predict.py", "predict"),
        ("score-images.py", "source/score_images/__init__.py", "score_images"),
    ],
)
def test_nor_that_of_a_module_beside_it(tmp_path: Path, name: str, beside: str, module: str) -> None:
    sibling = tmp_path / beside
    sibling.parent.mkdir(parents=True, exist_ok=True)
    sibling.write_text("value = 'sibling'")
    source = (
        f"import pickle\nfrom dataclasses import dataclass\nfrom {module} import value\n@dataclass\nclass Model:\n"
        "    x: int = 1\ndef run(batch):\n    return [value, pickle.loads(pickle.dumps(Model())) == Model()]"
    )
    script = load_script(written(tmp_path, source, name), [], str(tmp_path / "source"))
    assert ran(script) == ["sibling", True]


def test_a_folder_of_the_same_name_that_is_no_package_leaves_a_script_its_name(tmp_path: Path) -> None:
    (tmp_path / "predict").mkdir()
    source = "def run(batch):\n    import predict\n    return [__name__, predict.run is run]"
    assert ran(load_script(written(tmp_path, source, "predict.py"), [], None)) == ["predict", True]


@pytest.mark.parametrize("name", ["my-score.v2.py", "score"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    assert ran(load_script(written(tmp_path, "def run(batch):\n    return batch", name), [], None)) == (1, 2)


def test_a_changed_script_is_read_anew_and_nothing_is_written_beside_it(tmp_path: Path) -> None:
    for value in (1, 2):
        assert ran(load_script(written(tmp_path, f"def run(batch):\n    return [{value}]"), [], None)) == [value]
    assert [path.name for path in tmp_path.iterdir()] == ["score.py"]


def test_what_a_script_raises_passes_through(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        load_script(written(tmp_path, "1 / 0"), [], None)
    with pytest.raises(EntryScriptError, match="ended itself while it was imported: exit status 2"):
        load_script(written(tmp_path, "import sys\nsys.exit(2)"), ["--x"], None)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1", "has no run"),
        ("run = 3", "run is a int, not a function"),
        ("def run(batch): pass\ninit = 3", "init is a int"),
        ("def run(): pass", "cannot be called with a mini-batch"),
        ("def run(a, b, c): pass", "cannot be called with a mini-batch"),
        ("def run(a, *, key): pass", "cannot be called with a mini-batch"),
        ("async def run(batch): pass", "run is async"),
    ],
)
def test_a_script_that_cannot_be_used_says_why(tmp_path: Path, source: str, words: str) -> None:
    with pytest.raises(EntryScriptError, match=words):
        load_script(written(tmp_path, source), [], None)


# Calling run


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("batch", []),
        ("batch, context", ["3-17"]),
        ("batch, ctx", ["3-17"]),
        ("batch, context=None", ["3-17"]),
        ("batch, *, context", ["3-17"]),
        ("batch, top_k=5, context=None", ["3-17"]),
        ("batch, top_k=5", []),
        ("batch, *args", []),
        ("*args", []),
        ("*args, **kwargs", []),
        ("batch, /", []),
    ],
)
def test_the_context_goes_to_those_that_ask_for_it(tmp_path: Path, signature: str, expected: list[str]) -> None:
    body = "\n    return [v.minibatch_index for v in locals().values() if hasattr(v, 'minibatch_index')]"
    path = written(tmp_path, f"def run({signature}):{body}")
    check_script_source(path)
    assert ran(load_script(path, [], None)) == expected


def test_a_decorated_run_keeps_its_signature() -> None:
    def run(batch: Any, context: Context) -> list[str]:
        return [context.minibatch_index]

    @functools.wraps(run)
    def wrapper(*args: Any) -> list[str]:
        return run(*args)

    assert ran(load_object(wrapper, [])) == ["3-17"]


def test_generators_are_consumed_and_their_errors_come_at_once(tmp_path: Path) -> None:
    script = load_script(written(tmp_path, "def run(batch):\n    for x in batch:\n        yield 1 / x"), [], None)
    assert ran(script) == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        script.run([0], CONTEXT)
    assert ran(load_object(lambda batch: map(str, batch), [])) == ["1", "2"]


# Objects


class Model:
    def __init__(self) -> None:
        self.calls = ["constructor"]

    def run(self, batch: Any, context: Context) -> list[str]:
        return [*self.calls, context.minibatch_index]

    def shutdown(self) -> None:
        self.calls.append("shutdown")


class WithInit(Model):
    def init(self) -> None:
        self.calls.append("init")


def test_a_function_is_run() -> None:
    script = load_object(lambda batch: [len(batch)], ["--a"])
    assert ran(script) == [2]
    assert sys.argv[1:] == ["--a"]


def test_a_class_is_made_in_init_and_not_before() -> None:
    script = load_object(Model, [])
    with pytest.raises(EntryScriptError, match="before init"):
        script.run([], CONTEXT)
    assert ran(script) == ["constructor", "3-17"]
    script.shutdown()
    assert script.run([], CONTEXT) == ["constructor", "shutdown", "3-17"]
    assert ran(load_object(WithInit, [])) == ["constructor", "init", "3-17"]


def test_an_instance_is_used_as_it_is() -> None:
    model = WithInit()
    script = load_object(model, [])
    assert ran(script) == ["constructor", "init", "3-17"]
    script.shutdown()
    assert model.calls[-1] == "shutdown"


@pytest.mark.parametrize("obj", [3, "score.py", int, None], ids=str)
def test_other_objects_are_refused(obj: object) -> None:
    with pytest.raises(EntryScriptError, match=r"run\(self, mini_batch\)"):
        load_object(obj, [])


# Before anything starts


@pytest.mark.parametrize(
    "source",
    [
        "def run(batch): ...",
        "from model import predict as run",
        "from model import *",
        "run = make()",
        "run: object = make()",
        "a, run = make()",
        "class run:\n    def __init__(self, batch): ...",
        "if True:\n    def run(batch): ...\nelse:\n    pass",
        "try:\n    import x\nexcept ImportError:\n    def run(batch): ...",
        "@decorated\ndef run(): ...",
        "with x:\n    def run(batch): ...",
    ],
)
def test_a_script_with_run_is_accepted_unexecuted(tmp_path: Path, source: str) -> None:
    check_script_source(written(tmp_path, source + "\nraise SystemExit('it was executed')"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1", r"has no run\. Define run\(mini_batch\)"),
        ("def Run(batch): ...", "There is a Run in line 1"),
        ("class Model:\n    def run(self, batch): ...", "There is a run in line 2"),
        ("def run(): ...", r"score\.py:1: run\(\) cannot be called"),
        ("def run(a, b, c): ...", r"run\(a, b, c\) cannot be called"),
        ("def run(a, *, k): ...", r"run\(a, k\) cannot be called"),
        ("async def run(a): ...", "run is async"),
        ("import model.run", "has no run"),
    ],
)
def test_a_script_without_a_usable_run_is_refused(tmp_path: Path, source: str, words: str) -> None:
    with pytest.raises(EntryScriptError, match=words):
        check_script_source(written(tmp_path, source))


def test_a_syntax_error_is_shown_with_line_and_caret(tmp_path: Path) -> None:
    with pytest.raises(EntryScriptError) as caught:
        check_script_source(written(tmp_path, "def init(): pass\ndef run(batch)\n    return batch\n"))
    message = str(caught.value)
    assert "line 2" in message
    assert "def run(batch)\n" in message
    assert "^" in message
    assert "SyntaxError" in message


def test_what_is_no_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EntryScriptError, match="does not exist"):
        check_script_source(str(tmp_path / "none.py"))
    with pytest.raises(EntryScriptError, match="is a folder"):
        check_script_source(str(tmp_path))
    with pytest.raises(EntryScriptError, match=r"save its code as a \.py file"):
        check_script_source(written(tmp_path, '{"cells": [', "score.ipynb"))
    path = tmp_path / "latin.py"
    path.write_bytes(b"name = '\xe9'\ndef run(batch): ...")
    with pytest.raises(EntryScriptError, match="not valid Python"):
        check_script_source(str(path))
    path.write_bytes(b"# -*- coding: latin-1 -*-\nname = '\xe9'\ndef run(batch): ...")
    check_script_source(str(path))
