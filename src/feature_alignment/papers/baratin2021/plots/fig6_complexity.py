"""Figure 6: path complexity against width and against random labels."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from feature_alignment.papers.baratin2021.plots.sweeps import (
    SWEEPS,
    by_run,
    draw_along,
    draw_rank,
    ranks_axis,
    relative,
    sweep_axis,
)
from feature_alignment.plots import style

COLUMNS = ("width", "label_noise", "learning_rate", "sweep")
COMPLEXITIES = {
    "path_complexity": ("every step", "-"),
    "path_complexity_coarse": ("logged steps", "--"),
}
TESTS = {"loss": ("test loss", "red"), "error": ("test error", "purple")}
RELATIVE = {
    "parameter_count": ("parameters", "grey", "-"),
    "frobenius_product": (r"$\|U\|_F\,\|V\|_F$", "orange", "-"),
    "spectral_complexity": ("spectral", "green", "-"),
    "path_norm": ("path norm", "brown", "--"),
    "distance_from_initialisation": (r"$\|U-U_0\|_F$", "pink", "-"),
    "initial_frobenius_product": (r"$\|U_0\|_F\,\|V_0\|_F$", "orange", ":"),
    "path_complexity": ("path complexity", "blue", "-"),
}
"""What the third row compares, the path complexity drawn last and so on top."""
GROWING = ("parameter-count", "frobenius-product", "spectral-complexity")
GROWTH = 2
WORSE = ("frobenius_product", "spectral_complexity", "path_norm")
"""Measures that are claimed to go with the test loss less than the path complexity does."""
JUDGED = {
    "width": {"width": "width", "test loss": "loss"},
    "label_noise": {"random\nlabels": "label_noise", "test loss": "loss"},
}
"""What the path complexity is claimed to be ordered by, in the last row."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw a column per sweep: path complexity, test loss and error, other measures, and ranks.

    In the third row every measure is divided by its value at the left end of the column in the
    same seed; the last has rank correlations of the path complexity, and of
    other measures with the test loss, in the same colours.
    """
    drawn, axes = style.panels(4, len(SWEEPS), sharey="row")
    for column, sweep in enumerate(SWEEPS):
        here = style.select(table, sweep=sweep)
        complexity, test, others, ranks = (row[column] for row in axes)
        for panel in (complexity, test, others):
            sweep_axis(panel, here, sweep)
        complexity.set_yscale("log")
        for measure, (label, line) in COMPLEXITIES.items():
            draw_along(complexity, here, measure, sweep, "blue", label, linestyle=line)
        test.set_yscale("log")
        for measure, (label, colour) in TESTS.items():
            draw_along(test, _test(here), measure, sweep, colour, label)
        others.set_yscale("log", base=2)
        for measure, (label, colour, line) in RELATIVE.items():
            rows = style.select(here, measure=measure)
            if len(rows):  # not all are in tables from before they were measured
                own = relative(rows, sweep)
                draw_along(others, own, measure, sweep, colour, label, linestyle=line)
        _draw_ranks(ranks, here, JUDGED[sweep])
    claims = [f"baratin2021.fig6.width.{name}-grows" for name in GROWING]
    style.draw_claimed(axes[2][0], claims, GROWTH, side="left")
    control = style.select(table, sweep="control")
    if len(control):
        rate = control["learning_rate"].iloc[0]
        label = f"every step, $\\eta = {rate:g}$"
        draw_along(axes[0][0], control, "path_complexity", "width", "grey", label, linestyle=":")
    fixed = style.select(table, sweep="label_noise").iloc[0]
    axes[0][0].set_title(f"true labels, $\\eta = {fixed['learning_rate']:g}$")
    axes[0][1].set_title(f"{fixed['width']} hidden units, $\\eta = {fixed['learning_rate']:g}$")
    axes[0][0].set_ylabel("path complexity")
    axes[1][0].set_ylabel("test loss (nats), error")
    axes[2][0].set_ylabel("relative to the left end")
    axes[0][0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes[1][0].yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes[3][0].set_ylabel("rank correlation of path\ncomplexity (blue) with")
    for row in axes[:3]:
        row[0].yaxis.set_major_formatter("{x:g}")
        row[0].yaxis.set_minor_locator(NullLocator())
        handles, labels = row[0].get_legend_handles_labels()
        row[1].legend(handles, labels, loc="center left", bbox_to_anchor=(1, 0.5))
    return drawn


def _test(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the test set, with ``error``, which is 1 − accuracy, next to ``loss``."""
    test = style.select(rows, split="test")
    accuracy = style.select(test, measure="accuracy")
    return pd.concat([test, accuracy.assign(measure="error", value=1 - accuracy["value"])])


def _draw_ranks(panel: Axes, here: pd.DataFrame, judged: dict[str, str]) -> None:
    """Draw Spearman's correlation of the path complexity with something, for each seed.

    With the test loss, also that of the measures that are claimed to order networks worse.
    """
    for place, other in enumerate(judged.values()):
        if other == "loss":
            loss = by_run(style.select(here, measure="loss", split="test"))
            for step, measure in enumerate(("path_complexity", *WORSE)):
                _draw_rank(panel, place + 0.13 * step, here, measure, loss)
        else:
            complexity = by_run(style.select(here, measure="path_complexity"))
            values = complexity.index.get_level_values(other).to_series(index=complexity.index)
            _draw_rank(panel, place, here, "path_complexity", values)
    ranks_axis(panel, judged)


def _draw_rank(
    panel: Axes, place: float, here: pd.DataFrame, measure: str, values: pd.Series
) -> None:
    rows = style.select(here, measure=measure)
    draw_rank(panel, place, rows, values, RELATIVE[measure][1])
