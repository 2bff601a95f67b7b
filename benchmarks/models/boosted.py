"""Gradient boosting over the rows of a table: scikit-learn's, trained once; see ``data.boosted_model``."""

from __future__ import annotations

import os
from typing import Any

import joblib
import pandas as pd

PATH = "BOOSTED_MODEL"
"""Environment variable with the path of the trained model."""

_loaded: dict[str, Any] = {}


def init() -> None:
    """Load the model."""
    _loaded["model"] = joblib.load(os.environ[PATH])


def run(mini_batch: pd.DataFrame) -> pd.DataFrame:
    """Return the id and the probability of each row."""
    scores = _loaded["model"].predict_proba(mini_batch.drop(columns="id").to_numpy())[:, 1]
    return pd.DataFrame({"id": mini_batch["id"].to_numpy(), "score": scores})
