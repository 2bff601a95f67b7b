"""The Azure ML SDK's imports, answered by daskbatch: code that was written for Azure runs here unchanged.

``import daskbatch.azureml`` before the first import of ``azureml``, ``%load_ext daskbatch.azureml`` in a notebook, or
``python -m daskbatch.azureml script.py``. An SDK that is installed stays what ``azureml`` means; see `enable`.
"""

from __future__ import annotations

import sys
from typing import Any

from daskbatch.azureml.switch import enable

__all__ = ["enable", "load_ipython_extension"]


def load_ipython_extension(ipython: Any) -> None:  # noqa: ARG001 - IPython gives it
    """``%load_ext daskbatch.azureml``."""
    enable()


def _runs_as_program() -> bool:
    """Whether this is ``python -m daskbatch.azureml``: ``__main__`` knows then what is asked for."""
    return sys.argv[:1] == ["-m"] and __name__ in sys.orig_argv


if not _runs_as_program():
    enable()
