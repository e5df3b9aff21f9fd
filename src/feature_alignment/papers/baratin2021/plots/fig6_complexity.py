"""Figure 6: path complexity against width and against random labels."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, PercentFormatter

from feature_alignment.plots import style

COLUMNS = ("width", "label_noise", "learning_rate", "sweep")
SWEEPS = {"width": "hidden units", "label_noise": "random labels"}
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
        complexity, test, relative, ranks = (row[column] for row in axes)
        for panel in (complexity, test, relative):
            _scale(panel, here, sweep)
            panel.set_xlabel(SWEEPS[sweep], labelpad=1)
        complexity.set_yscale("log")
        for measure, (label, line) in COMPLEXITIES.items():
            _draw(complexity, here, measure, sweep, "blue", label, linestyle=line)
        test.set_yscale("log")
        for measure, (label, colour) in TESTS.items():
            _draw(test, _test(here), measure, sweep, colour, label)
        relative.set_yscale("log", base=2)
        for measure, (label, colour, line) in RELATIVE.items():
            rows = style.select(here, measure=measure)
            if len(rows):  # not all are in tables from before they were measured
                own = _relative(rows, sweep)
                _draw(relative, own, measure, sweep, colour, label, linestyle=line)
        _draw_ranks(ranks, here, JUDGED[sweep])
    claims = [f"baratin2021.fig6.width.{name}-grows" for name in GROWING]
    style.draw_claimed(axes[2][0], claims, GROWTH, side="left")
    control = style.select(table, sweep="control")
    if len(control):
        rate = control["learning_rate"].iloc[0]
        label = f"every step, $\\eta = {rate:g}$"
        _draw(axes[0][0], control, "path_complexity", "width", "grey", label, linestyle=":")
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


def _scale(axes: Axes, rows: pd.DataFrame, sweep: str) -> None:
    """Set the axis that a column of panels shares."""
    if sweep == "width":
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sorted(rows["width"].unique())))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_formatter(PercentFormatter(1))


def _draw(
    axes: Axes, rows: pd.DataFrame, measure: str, x: str, colour: str, label: str, **options: object
) -> None:
    chosen = style.select(rows, measure=measure)
    style.draw_band(
        axes, chosen, x, style.COLOURS[colour], label, marker="o", markersize=2.5, **options
    )


def _test(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the test set, with ``error``, which is 1 − accuracy, next to ``loss``."""
    test = style.select(rows, split="test")
    accuracy = style.select(test, measure="accuracy")
    return pd.concat([test, accuracy.assign(measure="error", value=1 - accuracy["value"])])


def _relative(rows: pd.DataFrame, x: str) -> pd.DataFrame:
    first = rows.loc[rows[x] == rows[x].min()].set_index("seed")["value"]
    return rows.assign(value=rows["value"] / first[rows["seed"]].to_numpy())


def _draw_ranks(panel: Axes, here: pd.DataFrame, judged: dict[str, str]) -> None:
    """Draw Spearman's correlation of the path complexity with something, for each seed.

    With the test loss, also that of the measures that are claimed to order networks worse.
    """
    for place, other in enumerate(judged.values()):
        if other == "loss":
            loss = style.select(here, measure="loss", split="test")
            for step, measure in enumerate(("path_complexity", *WORSE)):
                _draw_rank(panel, place + 0.13 * step, here, measure, _by_run(loss))
        else:
            complexity = _by_run(style.select(here, measure="path_complexity"))
            values = complexity.index.get_level_values(other).to_series(index=complexity.index)
            _draw_rank(panel, place, here, "path_complexity", values)
    panel.set_xticks(range(len(judged)), judged)
    panel.axhline(0, color="0.3", linewidth=0.6)
    panel.set(xlim=(-0.6, 1.6), ylim=(-1.1, 1.1))
    panel.grid(axis="x", visible=False)


def _by_run(rows: pd.DataFrame) -> pd.Series:
    return rows.set_index(["seed", "run", "width", "label_noise"])["value"]


def _draw_rank(
    panel: Axes, place: float, here: pd.DataFrame, measure: str, values: pd.Series
) -> None:
    own = _by_run(style.select(here, measure=measure))
    ranks = pd.DataFrame({"x": values, "y": own}).groupby("seed").rank()
    found = ranks.groupby("seed").apply(lambda part: part["x"].corr(part["y"]))
    colour = style.COLOURS[RELATIVE[measure][1]]
    style.draw_seeds(panel, place, found, colour, gid="ranks", interval=False)
