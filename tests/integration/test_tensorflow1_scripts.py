"""Entry scripts of TensorFlow 1, as Azure's users hold them, under the TensorFlow of today."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest

import daskbatch

TRAIN = """
import sys

import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
values = tf.placeholder(tf.float32, [None, 2], name="network/X")
weights = tf.Variable([[1.0, 0.0], [0.0, 3.0]], name="weights")
tf.matmul(values, weights, name="network/output/MatMul")
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(session, sys.argv[1])
"""

SCRIPT = """
import argparse
import os

import numpy as np
import tensorflow as tf
from azureml.core.model import Model
from azureml_user.parallel_run import EntryScript
from tensorflow.python.platform import gfile

def init():
    global g_tf_sess
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="network")
    model_path = Model.get_model_path(parser.parse_known_args()[0].model)
    tf.reset_default_graph()
    saver = tf.train.import_meta_graph(os.path.join(model_path, "network.meta"))
    g_tf_sess = tf.Session()
    saver.restore(g_tf_sess, os.path.join(model_path, "network"))
    EntryScript().logger.info("restored")

def run(mini_batch):
    in_tensor = g_tf_sess.graph.get_tensor_by_name("network/X:0")
    output = g_tf_sess.graph.get_tensor_by_name("network/output/MatMul:0")
    rows = []
    for path in mini_batch:
        with gfile.GFile(path, "r") as file:
            values = np.fromstring(file.read(), sep=" ", dtype="float32").reshape(1, 2)
        result = g_tf_sess.run(output, feed_dict={in_tensor: values})
        rows.append("{}: {}".format(os.path.basename(path), np.argmax(result)))
    return rows
"""


def test_a_global_session_and_a_meta_checkpoint_work(
    tmp_path: Path, script: Callable[..., str], missing: Callable[[str], NoReturn], monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("tensorflow") is None:
        missing("tensorflow is not installed")
    # Given a checkpoint, registered as a model
    model = tmp_path / "model"
    model.mkdir()
    quiet: dict[str, Any] = {"env": {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, "capture_output": True, "text": True}
    trained = subprocess.run([sys.executable, "-c", TRAIN, str(model / "network")], check=False, **quiet)
    assert trained.returncode == 0, trained.stderr
    workspace = daskbatch.Workspace.create("here", path=tmp_path / "ws")
    daskbatch.Model.register(workspace=workspace, model_path=str(model), model_name="network")
    monkeypatch.setenv("DASKBATCH_WORKSPACE", str(workspace.root))
    # And some inputs
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name, values in (("a.txt", "4 1"), ("b.txt", "2 1"), ("c.txt", "0 1")):
        (inputs / name).write_text(values)
    # When a script that was written for TensorFlow 1 runs
    run = daskbatch.run(
        script(SCRIPT), inputs, output=tmp_path / "out", append_row_file_name="parallel_run_step.txt",
        process_count_per_node=1, progress=False, tensorflow1=True, environment_variables={"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    # Then it gives what it gave, and the log says how
    assert run.output_file is not None
    assert run.output_file.read_text() == "a.txt: 0\nb.txt: 1\nc.txt: 1\n"
    (log,) = (tmp_path / "out" / "logs" / "user" / "entry_script_log").rglob("*.txt")
    assert log.read_text().count("tensorflow is tensorflow.compat.v1 here") == 1
    assert log.read_text().count("restored") == 1
