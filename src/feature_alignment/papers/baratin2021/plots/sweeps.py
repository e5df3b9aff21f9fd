"""What the figures of complexity share: a column of panels per sweep, and rank correlations."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from feature_alignment.plots import style

SWEEPS = {"width": "hidden units", "label_noise": "random labels"}


def sweep_axis(axes: Axes, rows: pd.DataFrame, sweep: str) -> None:
    """Set the axis that a column of panels shares."""
    if sweep == "width":
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sorted(rows["width"].unique())))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(SWEEPS[sweep], labelpad=1)


def draw_along(
    axes: Axes, rows: pd.DataFrame, measure: str, x: str, colour: str, label: str, **options: object
) -> None:
    """Draw a measure along a sweep."""
    chosen = style.select(rows, measure=measure)
    style.draw_band(
        axes, chosen, x, style.COLOURS[colour], label, marker="o", markersize=2.5, **options
    )


def relative(rows: pd.DataFrame, x: str) -> pd.DataFrame:
    """Return values divided by that at the left end of a sweep in the same seed."""
    first = rows.loc[rows[x] == rows[x].min()].set_index("seed")["value"]
    return rows.assign(value=rows["value"] / first[rows["seed"]].to_numpy())


def by_run(rows: pd.DataFrame) -> pd.Series:
    """Return the value of every seed of every run."""
    return rows.set_index(["seed", "run", "width", "label_noise"])["value"]


def draw_rank(
    panel: Axes, place: float, rows: pd.DataFrame, values: pd.Series, colour: str
) -> None:
    """Draw Spearman's correlation of a measure with ``values`` over runs, for each seed.

    Args:
        panel: Panel.
        place: Where, along its axis.
        rows: Rows of the measure.
        values: What it is correlated with, as :func:`by_run` returns it.
        colour: Name of a colour.
    """
    ranks = pd.DataFrame({"x": values, "y": by_run(rows)}).groupby("seed").rank()
    found = ranks.groupby("seed").apply(lambda part: part["x"].corr(part["y"]))
    style.draw_seeds(panel, place, found, style.COLOURS[colour], gid="ranks", interval=False)


def ranks_axis(panel: Axes, names: dict[str, str]) -> None:
    """Name the places of :func:`draw_rank`."""
    panel.set_xticks(range(len(names)), names)
    panel.axhline(0, color="0.3", linewidth=0.6)
    panel.set(xlim=(-0.6, len(names) - 0.4), ylim=(-1.1, 1.1))
    panel.grid(axis="x", visible=False)
