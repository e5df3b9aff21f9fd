"""Collect the tables of figures B1, B2 and B3 from the measurements of the networks."""

from collections.abc import Callable, Sequence

import pandas as pd

from feature_alignment import command
from feature_alignment.experiments.collecting import parse_collection

CORRELATIONS = ("uc_nfa_pearson", "uc_nfa_cosine", "c_nfa_pearson", "c_nfa_cosine")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one figure; see ``--help`` for the arguments."""
    collection = parse_collection(__doc__, argv)
    if collection.figure not in FIGURES:
        known = ", ".join(FIGURES)
        raise ValueError(f"unknown figure {collection.figure!r}; expected one of {known}")
    collection = collection.with_condition(
        "dataset", lambda spec: spec["settings"]["dataset"]["name"]
    )
    table = FIGURES[collection.figure](since_first_epoch(collection.measurements))
    collection.write("feature_alignment.experiments.beaglehole2024.collect", table)


def since_first_epoch(measurements: pd.DataFrame) -> pd.DataFrame:
    """Count epochs as the paper does: 0 is the end of the first epoch, whose rate is tiny.

    Measurements before it, at initialisation, are left out.
    """
    shifted = measurements.assign(epoch=measurements["epoch"] - 1)
    return shifted[shifted["epoch"] >= 0].reset_index(drop=True)


def emergence(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of B1: the four correlations of every layer after every epoch."""
    return _of(measurements, *CORRELATIONS)


def loss_and_weight_change(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of B2: loss, accuracy and each layer's weight change after every epoch."""
    return _of(measurements, "loss", "accuracy", "weight_change")


def initial_and_final(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of B3: the correlations at epoch 0 and at the end, marked by ``stage``."""
    table = _of(measurements, *CORRELATIONS)
    last = table.groupby(["run", "seed"])["epoch"].transform("max")
    stages = [("initial", table["epoch"] == 0), ("final", table["epoch"] == last)]
    parts = []
    for stage, rows in stages:
        part = table[rows].copy()
        part.insert(len(part.columns) - 2, "stage", stage)
        parts.append(part)
    return pd.concat(parts).reset_index(drop=True)


def _of(measurements: pd.DataFrame, *measures: str) -> pd.DataFrame:
    return measurements[measurements["measure"].isin(measures)].reset_index(drop=True)


FIGURES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "b1_nfa_emergence": emergence,
    "b2_loss_and_weight_change": loss_and_weight_change,
    "b3_initial_and_final": initial_and_final,
}


if __name__ == "__main__":
    command.run(main)
