"""Figure 4: test error against the number of images, as published and with a fixed subset."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from feature_alignment.papers.lejeune2024.plots.models import (
    COLOURS,
    NAMES,
    PROTOCOLS,
    error_axis,
    error_ticks,
    image_axis,
)
from feature_alignment.plots import style

COLUMNS = ("dataset", "protocol", "model", "n_train")


CLAIM = "lejeune2024.fig4."
LOWER, STREAM, COST = 0, 50, 0.02
DIFFERENCES = {
    "adaptive_minus_fixed": ("adaptive minus fixed", "-", "o"),
    "fixed_minus_full": ("fixed minus network", ":", "s"),
}
DATASETS = {"mnist": "blue", "cifar10": "red"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row per dataset and a column per protocol, and below what is judged.

    The paper's own values, where known, are stars and dashes. What was not run has no panel.
    """
    datasets = list(table["dataset"].unique())
    measured = style.select(table, measure="error")
    protocols = {
        name: title for name, title in PROTOCOLS.items() if name in set(measured["protocol"])
    }
    drawn, grid = style.panels(len(datasets) + 1, max(2, len(protocols)))
    slots = []
    for row, dataset in zip(grid, datasets, strict=False):
        shown = style.select(measured, dataset=dataset)
        limits = (0.85 * shown["value"].min(), 1.1 * shown["value"].max())
        for panel, (protocol, name) in zip(row, protocols.items(), strict=False):
            own = style.select(table, dataset=dataset, protocol=protocol)
            if style.select(own, measure="error").empty:
                slots.append(panel)
                continue
            error_axis(panel, "y")
            _draw_errors(panel, own, paper=protocol == "published")
            panel.set(ylim=limits, ylabel=f"{style.dataset_name(dataset)}, test error")
            panel.set_xlabel("images per epoch" if protocol == "published" else "images")
            panel.set_title(name, fontsize=7)
            panel.set_yticks(error_ticks(*limits))
        slots += row[len(protocols) :]
    differences, stream, *costs = grid[-1]
    _draw_differences(differences, table, protocols)
    _draw_stream(stream, table)
    for panel in costs:
        _draw_cost(panel, table)
    for panel in slots:
        panel.set_axis_off()
    if slots:
        style.legend(drawn, style.CLAIMED, slot=slots[0], size=5.8)
    else:
        style.legend(drawn, style.CLAIMED, columns=5)
    return drawn


def _draw_errors(panel: Axes, own: pd.DataFrame, paper: bool) -> None:
    """Draw the test error of every model against the number of images."""
    image_axis(panel, style.select(own, measure="error")["n_train"].unique())
    for model, colour in COLOURS.items():
        rows = style.select(own, model=model)
        errors = style.select(rows, measure="error")
        if errors.empty:
            continue
        style.draw_band(panel, errors, "n_train", colour, NAMES[model], marker="o", ms=2.5)
        if paper:
            values = (
                style.select(rows, measure="published_error").groupby("n_train")["value"].mean()
            )
            label = "the paper's figure, by pixel"
            panel.plot(values.index, values, "--*", color=colour, ms=4, lw=0.8, mew=0, gid="paper")
            panel.plot([], [], "--*", color="0.3", ms=4, lw=0.8, mew=0, label=label)


def _draw_differences(panel: Axes, table: pd.DataFrame, protocols: dict[str, str]) -> None:
    """Draw differences of test errors between models, of one subset where that was run."""
    protocol = "corrected" if "corrected" in protocols else "published"
    sizes = []
    for dataset, colour in DATASETS.items():
        own = style.select(table, dataset=dataset, protocol=protocol)
        for measure, (name, dashes, marker) in DIFFERENCES.items():
            rows = style.select(own, measure=measure)
            if rows.empty:
                continue
            sizes += list(rows["n_train"].unique())
            label = f"{style.dataset_name(dataset)}, {name}"
            panel.set_xscale("log")
            style.draw_band(
                panel,
                rows,
                "n_train",
                style.COLOURS[colour],
                label,
                linestyle=dashes,
                marker=marker,
                ms=2.5,
            )
    claims = (f"{CLAIM}corrected.mnist.adaptive-errs-less", f"{CLAIM}corrected.network-below-fixed")
    if protocol == "corrected":
        style.draw_claimed(panel, claims, LOWER, told=None)
        panel.set_title("claimed: adaptive minus fixed ≤ 0,\nfixed minus network ≥ 0", fontsize=7)
    else:
        panel.axhline(LOWER, color="0.3", linewidth=0.8)
        panel.set_title("differences of models", fontsize=7)
    image_axis(panel, sizes)
    panel.set(xlabel="images", ylabel="difference of errors")


def _draw_stream(panel: Axes, table: pd.DataFrame) -> None:
    """Draw how many times the images of an epoch a model saw different ones."""
    own = style.select(table, dataset="mnist", protocol="published", measure="distinct_ratio")
    panel.set(yscale="log")
    image_axis(panel, own["n_train"].unique())
    for model, colour in COLOURS.items():
        rows = style.select(own, model=model)
        if not rows.empty:
            style.draw_band(panel, rows, "n_train", colour, None, marker="o", ms=2.5)
    least = own["n_train"].min()
    style.draw_claimed(
        panel, f"{CLAIM}stream", STREAM, across=(0.8 * least, 1.3 * least), told=None
    )
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set(xlabel="images per epoch", ylabel="different images / n")
    panel.set_title("new images every epoch:\nwhat was seen, MNIST", fontsize=7)


def _draw_cost(panel: Axes, table: pd.DataFrame) -> None:
    """Draw what the test error gains by selection on the test set."""
    own = style.select(table, dataset="mnist", measure="selection_cost")
    if own.empty:
        panel.set_axis_off()
        return
    image_axis(panel, own["n_train"].unique())
    for model, colour in COLOURS.items():
        rows = style.select(own, model=model)
        if not rows.empty:
            style.draw_band(panel, rows, "n_train", colour, None, marker="o", ms=2.5)
    style.draw_claimed(panel, f"{CLAIM}selection", most=COST)
    panel.set(xlabel="images", ylabel="difference of errors")
    panel.set_title("selected on held-out\nminus on test, MNIST", fontsize=7)
