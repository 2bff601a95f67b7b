from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daskbatch.errors import EntryScriptError
from daskbatch.worker import tensorflow1
from daskbatch.worker.entry import EntryScript

V1 = """
off = []

def disable_v2_behavior():
    off.append(1)

class Session: ...
session = "v1"
both = "v1"
keras = "v1"
compat = "v1"
_private = "v1"
"""


@pytest.fixture
def tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of that name and shape."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]:
        monkeypatch.delitem(sys.modules, name)
    folder = tmp_path / "tensorflow"
    for name, source in (
        ("", "from tensorflow import compat, core, python\n__version__ = '2.9.1'\nboth = keras = _private = 'v2'\n"),
        ("compat", ""),
        ("compat/v1", V1),
        ("core", ""),
        ("python", "del_me = 1\n"),
    ):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    tensorflow1.uninstall()
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]:
        del sys.modules[name]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What went to the script's log."""
    lines: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: lines.append(record.getMessage()))
    EntryScript().logger.addHandler(handler)
    yield lines
    EntryScript().logger.removeHandler(handler)


def test_version_2_has_the_names_of_version_1(tensorflow: Path, said: list[str]) -> None:
    tensorflow1.install()
    # Looking does not load it
    assert importlib.util.find_spec("tensorflow") is not None
    assert "tensorflow" not in sys.modules
    import tensorflow as tf
    import tensorflow.compat.v1 as v1

    assert tf.Session is v1.Session
    assert (tf.both, tf.session) == ("v1", "v1")
    # What version 2 has to keep
    assert (tf.keras, tf._private, tf.compat.v1) == ("v2", "v2", v1)
    assert tf.python.del_me == 1
    # Its behavior is off, and that is said, once
    assert v1.off == [1]
    (line,) = said
    assert line.startswith("TensorFlow 2.9.1 is installed and the script is one of version 1: tensorflow is")
    # And it is otherwise the module that it was
    assert type(tf.__spec__.loader).__name__ == "SourceFileLoader"
    assert tf.__loader__ is tf.__spec__.loader
    importlib.import_module("tensorflow")
    assert len(said) == 1


def test_keras_of_version_1_is_there_where_it_can_be(tensorflow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    tensorflow1.install()
    assert importlib.import_module("tensorflow").keras == "v1"


def test_version_1_stays_as_it_is(tensorflow: Path, said: list[str]) -> None:
    (tensorflow / "__init__.py").write_text("__version__ = '1.15.2'\nboth = 'own'\n")
    tensorflow1.install()
    assert importlib.import_module("tensorflow").both == "own"
    assert said == []


def test_without_it_nothing_changes(tensorflow: Path) -> None:
    tensorflow1.install()
    tensorflow1.uninstall()
    assert importlib.import_module("tensorflow").both == "v2"
    # Then it is too late
    with pytest.raises(EntryScriptError, match=r"TensorFlow 2\.9\.1 is imported in this process already"):
        tensorflow1.install()


def test_twice_in_one_process_is_once(tensorflow: Path, said: list[str]) -> None:
    for _ in range(2):
        tensorflow1.install()
        assert importlib.import_module("tensorflow").both == "v1"
        tensorflow1.uninstall()
    assert len(said) == 1
    assert not [finder for finder in sys.meta_path if type(finder).__module__ == tensorflow1.__name__]


def test_where_there_is_no_tensorflow_the_import_says_so(tensorflow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    tensorflow1.install()
    with pytest.raises(ModuleNotFoundError, match="No module named 'tensorflow'"):
        importlib.import_module("tensorflow")
