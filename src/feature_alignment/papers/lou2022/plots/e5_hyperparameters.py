"""Experiment E5: alignment and generalisation over learning rates, batch sizes, optimisers."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import draw_layers
from feature_alignment.plots import style

COLUMNS = ("architecture", "optimizer", "learning_rate", "batch_size", "layer_index")
MARKERS = {"sgd": "os^Dv", "adam": "Xd*PH"}

RANKED = ("maximum_alignment", "mean_alignment")


def figure(table: pd.DataFrame) -> Figure:
    """Draw, per architecture, layers' alignment by batch size, and test error against alignment.

    Colours are learning rates, from low to high, markers batch sizes. What is judged is the rank
    correlation of alignment and test accuracy over settings, in each seed.
    """
    architectures = list(table["architecture"].unique())
    batches = sorted(table["batch_size"].unique())
    drawn, grid = style.panels(2 * len(architectures), max(3, len(batches)))
    for place, architecture in enumerate(architectures):
        own = style.select(table, architecture=architecture, split="test")
        rates = sorted(own["learning_rate"].unique())
        colours = dict(zip(rates, style.shades(len(rates), 0.85, "plasma"), strict=True))
        curves, below = grid[2 * place : 2 * place + 2]
        for panel, batch in zip(curves, batches, strict=False):
            here = style.select(own, batch_size=batch)
            for (optimizer, rate), rows in here.groupby(["optimizer", "learning_rate"]):
                line = "-" if optimizer == "sgd" else "--"
                draw_layers(panel, rows, colours[rate], None, linestyle=line)
            panel.set(title=f"batches of {batch}", xlabel="layer", ylim=(0, None))
        curves[0].set_ylabel("alignment (test)")
        for panel, measure, label in (
            (below[0], "maximum_alignment", "largest alignment over layers"),
            (below[1], "mean_alignment", "mean alignment over layers"),
        ):
            _scatter(panel, own, measure, colours, batches)
            panel.set_xlabel(label)
        below[0].set_ylabel("test error")
        _draw_ranks(below[2], own)
        slots = [*curves[len(batches) :], *below[3:]]
        for panel in slots:
            panel.set_axis_off()
        entries = [
            style.line(
                f"{_name(o)}, learning rate {rate:g}", colours[rate], "-" if o == "sgd" else "--"
            )
            for o in sorted(own["optimizer"].unique(), reverse=True)
            for rate in sorted(style.select(own, optimizer=o)["learning_rate"].unique())
        ]
        entries += [
            style.line(f"{_name(o)}, batches of {b}", "0.3", "", MARKERS[o][k])
            for k, b in enumerate(batches)
            for o in style.select(own, batch_size=b)["optimizer"].unique()
        ]
        if slots:
            style.legend(drawn, *entries, slot=slots[0])
        elif place == 0:
            style.legend(drawn, *entries, columns=4)
    return drawn


def _name(optimizer: str) -> str:
    return {"sgd": "SGD", "adam": "Adam"}.get(optimizer, optimizer)


def _draw_ranks(panel: Axes, own: pd.DataFrame) -> None:
    """Draw Spearman's correlation over settings of alignment with test accuracy, by seed."""
    accuracy = style.select(own, measure="accuracy").set_index(["seed", "run"])["value"]
    for place, measure in enumerate(RANKED):
        values = style.select(own, measure=measure).set_index(["seed", "run"])["value"]
        ranks = pd.DataFrame({"x": values, "y": accuracy}).groupby("seed").rank()
        found = ranks.groupby("seed").apply(lambda part: part["x"].corr(part["y"]))
        colour = style.COLOURS["green"]
        style.draw_seeds(panel, place, found, colour, gid="ranks", interval=False)
    panel.axhline(0, color="0.3", linewidth=0.6)
    panel.set_xticks((0, 1), ("largest", "mean"))
    panel.set(xlim=(-0.6, 1.6), ylim=(-1.1, 1.1), xlabel="alignment over layers")
    panel.set_title("rank correlation with accuracy", fontsize=7)
    panel.grid(axis="x", visible=False)


def _scatter(panel: Axes, own: pd.DataFrame, measure: str, colours: dict, batches: list) -> None:
    """Draw the error of every run and seed against a summary of its alignments."""
    keys = ["run", "seed"]
    values = style.select(own, measure=measure).set_index(keys)
    errors = style.select(own, measure="error").set_index(keys)["value"]
    for (optimizer, rate, batch), rows in values.groupby(
        ["optimizer", "learning_rate", "batch_size"]
    ):
        marker = MARKERS[optimizer][batches.index(batch)]
        panel.plot(
            rows["value"], errors[rows.index], marker, color=colours[rate], markersize=4, alpha=0.8
        )
