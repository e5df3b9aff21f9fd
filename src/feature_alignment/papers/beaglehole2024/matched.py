"""Compare trainings at the same training loss, however long each took to get there."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from feature_alignment.tables import tidy

Table = pd.DataFrame

PLACE = ["measure", "layer", "split"]
"""What tells the values of one training at one epoch apart."""
LOSSES = ("loss", "relative_loss")
"""Measures that are interpolated by their logarithms."""
MATCHED = "matched_"
"""Prefix of a measure that is read off where training losses are equal."""


def values_at_loss(training: Table, level: float, loss: str) -> dict[tuple, float]:
    """Read the measures of one training off where its training loss first is at a level.

    Values are interpolated between the first measurement at or below the level and, of those before
    it, the one with the lowest loss: linearly in the logarithm of the loss, and losses by their
    logarithms, too.

    Args:
        training: Measurements of one training.
        level: Of the loss, between the loss before training and the lowest.
        loss: Which measure the loss is; that of the split ``train`` counts.

    Returns:
        From (measure, layer, split), with ``None`` for what is missing, to the value; only what has
        been measured on both sides.

    Raises:
        ValueError: If the training never gets there, or starts below.
    """
    by_epoch = training.set_index(["epoch", *PLACE])["value"].unstack(PLACE)
    places = [tuple(None if pd.isna(part) else part for part in key) for key in by_epoch.columns]
    by_epoch.columns = pd.Index(places, tupleize_cols=False)
    losses = by_epoch[[(loss, None, "train")]].to_numpy()[:, 0]
    if not losses.min() <= level <= losses[0]:
        raise ValueError(
            f"expected a level of {loss} between {losses.min():g} and {losses[0]:g}, got {level:g}"
        )
    after = int(np.argmax(losses <= level))
    found = by_epoch.iloc[after]
    if after:
        lowest = int(np.argmin(losses[:after]))
        before = by_epoch.iloc[lowest]
        share = np.log(losses[lowest] / level) / np.log(losses[lowest] / losses[after])
        between = before + share * (found - before)
        positive = [place for place in places if place[0] in LOSSES]
        between[positive] = before[positive] * (found[positive] / before[positive]) ** share
        found = between
    return {place: float(value) for place, value in found.items() if pd.notna(value)}


def matched(measurements: Table, conditions: Sequence[str], loss: str) -> Table:
    """Return the values of all methods at a training loss that all of them reach.

    The level is the highest of the methods' lowest losses: where the slowest of them gets to.

    Args:
        measurements: With the column ``method``.
        conditions: Columns that tell groups of methods apart, besides run and seed.
        loss: See :func:`values_at_loss`.

    Returns:
        A row per method and value, without an epoch, its measure with the prefix
        :data:`MATCHED`.
    """
    rows: list[dict] = []
    keys = ["paper", "run", "seed", *conditions]
    losses = measurements[(measurements["measure"] == loss) & (measurements["split"] == "train")]
    levels = losses.groupby([*keys, "method"])["value"].min().groupby(keys).max()
    for (*group, method), training in measurements.groupby([*keys, "method"], sort=False):
        identity = dict(zip(keys, group, strict=True))
        found = values_at_loss(training, levels[tuple(group)], loss)
        for (measure, layer, split), value in found.items():
            place = {"measure": MATCHED + measure, "layer": layer, "split": split}
            rows.append({**identity, "method": method, **place, "value": value})
    return tidy(rows, [*conditions, "method"])


def differences(
    table: Table, measures: Mapping[str, str], greater: str, lesser: str, suffix: str
) -> Iterator[dict]:
    """Yield how far a measure is higher under one method than under another, in each seed.

    Args:
        table: Rows of :func:`matched`.
        measures: From a measure's name, with its prefix, to that of its difference.
        greater: The method whose values come first.
        lesser: The method whose values are taken away.
        suffix: Of the differences' names.
    """
    identity = [name for name in table.columns if name not in ("method", "value", "step", "epoch")]
    for measure, name in measures.items():
        own = table[table["measure"] == measure]
        one, other = (own[own["method"] == m] for m in (greater, lesser))
        for row in one.merge(other, on=identity, how="inner").to_dict("records"):
            kept = {key: row[key] for key in identity if not pd.isna(row[key])}
            value = row["value_x"] - row["value_y"]
            yield {**kept, "measure": name + suffix, "value": value}
