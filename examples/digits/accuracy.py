"""Print the head of the result, how often it is right on pictures the model has never seen, and where the logs are."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd


def main(folder: Path) -> None:
    """Compare ``out/predictions.csv`` with ``labels.csv``."""
    output = folder / "out"
    predictions = pd.read_csv(output / "predictions.csv")
    labels = pd.read_csv(folder / "labels.csv")
    print(f"\n{output / 'predictions.csv'}, {len(predictions)} rows:")
    print(predictions.head().to_string(index=False))
    both = labels.merge(predictions, on="file", how="left", suffixes=("", "_scored"))
    unseen = both.iloc[len(both) // 2 :]
    accuracy = (unseen["digit"] == unseen["digit_scored"]).mean()
    print(f"\nAccuracy on the {len(unseen)} digits that the model has not seen: {accuracy:.1%}")
    print(f"Summary: {output / 'run_summary.json'}")
    print(f"Logs:    {output / 'logs'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
