"""Figure B7 on images: the ansatz where one layer after the other is favoured."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.beaglehole2024.plots.layers import layer_names, layer_number
from feature_alignment.plots import style

COLUMNS = ("dataset", "method")


GAINS = {
    "uc_nfa_gain": ("over SGD", "over-sgd"),
    "uc_nfa_gain_over_equal": ("over equal speeds", "over-equal"),
    "uc_nfa_rise": ("over random weights", "rises"),
}
"""What is judged: the UC-NFA of the layer that is favoured minus another one of that layer."""
FALLS = "beaglehole2024.b7c.{dataset}.layer{layer}.test-loss-falls"


def figure(table: pd.DataFrame) -> Figure:
    """Draw, two rows per dataset, losses, UC-NFA and C-NFA at the same loss, and their gains.

    Last in a row are the test loss, and by what factor that of SGD is higher at the same training
    loss.
    """
    datasets = list(table["dataset"].unique())
    methods = list(table["method"].dropna().unique())
    drawn, grid = style.panels(2 * len(datasets), 4)
    for place, dataset in enumerate(datasets):
        own = style.select(table, dataset=dataset)
        above, below = grid[2 * place : 2 * place + 2]
        for number, method in enumerate(methods):
            here = style.select(own, method=method)
            shift = 0.14 * (number - (len(methods) - 1) / 2)
            _draw_method(above, here, method, style.hue(number), shift)
        _draw_start(above[1], own)
        above[0].set(xlabel="epoch", ylabel=f"{style.dataset_name(dataset)}\ntraining loss")
        above[1].set_ylabel("UC-NFA, same loss")
        above[2].set_ylabel("C-NFA, same loss")
        above[3].set(xlabel="epoch", ylabel="test loss")
        _draw_test(below[3], own)
        claims = [FALLS.format(dataset=dataset, layer=layer) for layer in _favoured(own)]
        style.draw_claimed(below[3], claims, 1)
        for panel, (measure, (name, claim)) in zip(below, GAINS.items(), strict=False):
            _draw_gains(panel, style.select(own, measure=measure))
            style.draw_claimed(panel, f"beaglehole2024.b7c.{dataset}.{claim}", 0)
            panel.set_title(name)
        below[0].set_ylabel("UC-NFA of the favoured\nlayer, minus")
    start = style.line("random weights", "0.3")
    style.legend(drawn, start, style.CLAIMED, columns=4)
    return drawn


def _draw_method(
    row: list[Axes], own: pd.DataFrame, method: str, colour: str, shift: float
) -> None:
    """Draw the loss of a method, and the ansatz at the loss that all methods reach, by layer."""
    label = {"sgd": "SGD", "equal": "equal speeds"}.get(method, f"{method} favoured")
    for panel, split in ((row[0], "train"), (row[3], "test")):
        panel.set_yscale("log")
        loss = style.select(own, measure="loss", split=split)
        style.draw_band(panel, loss, "epoch", colour, label)
    for panel, measure in zip(row[1:3], ("uc_nfa", "c_nfa"), strict=True):
        rows = style.select(own, measure=f"matched_{measure}_pearson")
        for layer in layer_names(rows):
            values = style.select(rows, layer=layer)["value"]
            style.draw_seeds(panel, layer_number(layer) + shift, values, colour)
        panel.set(ylim=(0, 1), xlabel="layer", xticks=range(1, 1 + len(layer_names(rows))))


def _draw_gains(panel: Axes, rows: pd.DataFrame) -> None:
    layers = layer_names(rows)
    for layer in layers:
        values = style.select(rows, layer=layer)["value"]
        style.draw_seeds(panel, layer_number(layer), values, style.COLOURS["blue"])
    panel.set(xlabel="layer", xticks=[layer_number(layer) for layer in layers])
    panel.set_xlim(0.5, len(layers) + 0.5)


def _draw_start(panel: Axes, own: pd.DataFrame) -> None:
    """Draw a line for each layer at its UC-NFA before training, the same for all methods."""
    start = style.select(own, epoch=0, measure="uc_nfa_pearson")
    for layer in layer_names(start):
        mean = style.select(start, layer=layer)["value"].mean()
        place = layer_number(layer)
        panel.plot([place - 0.4, place + 0.4], [mean, mean], color="0.3", linewidth=0.8)


def _favoured(own: pd.DataFrame) -> list[int]:
    """Return the numbers of the layers that a method favours."""
    methods = own["method"].dropna().unique()
    return sorted(int(name.removeprefix("layer ")) for name in methods if name.startswith("layer "))


def _draw_test(panel: Axes, own: pd.DataFrame) -> None:
    """Draw the test loss of SGD over that with a layer favoured, at the same training loss."""
    losses = style.select(own, measure="matched_loss", split="test")
    of = {name: rows.set_index("seed")["value"] for name, rows in losses.groupby("method")}
    panel.set_yscale("log")
    for layer in _favoured(own):
        ratio = of["sgd"] / of[f"layer {layer}"]
        style.draw_seeds(panel, layer, ratio, style.COLOURS["blue"])
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter("{x:g}")
    panel.set(xlabel="layer", xticks=_favoured(own), xlim=(0.5, len(_favoured(own)) + 0.5))
    panel.set_ylabel("test loss, SGD over\nlayer favoured")
