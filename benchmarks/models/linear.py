"""A cheap numpy model over the rows of a table: one score a row."""

from __future__ import annotations

import numpy as np
import pandas as pd

FEATURES = [f"x{i}" for i in range(8)]
WEIGHTS = np.linspace(-1, 1, len(FEATURES))


def run(mini_batch: pd.DataFrame) -> pd.DataFrame:
    """Return the id and the score of each row."""
    scores = np.tanh(mini_batch[FEATURES].to_numpy() @ WEIGHTS)
    return pd.DataFrame({"id": mini_batch["id"].to_numpy(), "score": scores})
