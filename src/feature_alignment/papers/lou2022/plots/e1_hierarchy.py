"""Experiment E1: alignment of the layers of several networks, before and after training."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from feature_alignment.papers.lou2022.plots.layers import (
    RISE,
    SPLIT_COLOURS,
    SPLITS,
    draw_layers,
    draw_rises,
    draw_split,
    name_of,
)
from feature_alignment.plots import style

COLUMNS = ("dataset", "architecture", "stage", "layer_index")
ACROSS = 3
SHORT = {
    "fully_connected": "MLP",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
}


CLAIM = "lou2022.e1."
OF_ONE = ("fc-mnist", "fc-fashion", "fc-cifar10", "resnet18", "vgg")
"""Networks that have a claim of their own on the interior maximum."""
ABOVE_LAST, GROWTH = 2, 3
JUDGED = {
    "interior_rise": "most aligned layer / higher end",
    "rise_above_last": "most aligned / last layer",
    "spread": "range over layers, end / start",
}
"""What is judged of every network: measure and title."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw a panel per network, a colour per stage, test solid and training examples dashed.

    Below is what is judged of each network.
    """
    networks = list(table[["architecture", "dataset"]].drop_duplicates().itertuples(index=False))
    height = -(-len(networks) // ACROSS)
    drawn, grid = style.panels(height + 1, ACROSS)
    panels = [panel for row in grid[:height] for panel in row]
    stages = sorted(table["stage"].dropna().unique(), key=_order)
    shades = dict(zip(stages, plt.get_cmap("viridis")([0.8, 0.45, 0.1, 0.6]), strict=False))
    for panel, network in zip(panels, networks, strict=False):
        own = style.select(table, **network._asdict())
        for stage in stages:
            for split, line in SPLITS.items():
                rows = style.select(own, stage=stage, split=split)
                label = stage if split == "test" and len(rows) else None
                draw_layers(panel, rows, shades[stage], label, linestyle=line)
        panel.set_title(f"{name_of(network.architecture)}, {style.dataset_name(network.dataset)}")
        panel.title.set_fontsize(7)
        panel.set(xlabel="layer", ylim=(0, None))
    for row in grid[:height]:
        row[0].set_ylabel("alignment")
    slots = panels[len(networks) :]
    for panel in slots:
        panel.set_axis_off()
    for panel, measure in zip(grid[-1], JUDGED, strict=True):
        _draw_judged(panel, table, networks, measure)
    lines = [style.line(f"{split} examples", "0.3", line) for split, line in SPLITS.items()]
    options = {"slot": slots[0]} if slots else {"columns": 8}
    style.legend(drawn, *lines, style.CLAIMED, **options)
    return drawn


def _draw_judged(panel: Axes, table: pd.DataFrame, networks: list, measure: str) -> None:
    """Draw one ratio of every network, on test and on training examples, and what is claimed."""
    if measure == "spread":
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
    for place, network in enumerate(networks):
        rows = style.select(table, **network._asdict(), measure=measure)
        last = rows.groupby(["seed", "split"])["step"].transform("max")
        first = rows.groupby(["seed", "split"])["step"].transform("min")
        end = rows[rows["step"] == last]
        if measure == "spread":
            start = rows[rows["step"] == first].set_index(["seed", "split"])["value"]
            keys = pd.MultiIndex.from_frame(end[["seed", "split"]])
            end = end.assign(value=end["value"].to_numpy() / start[keys].to_numpy())
        if measure == "interior_rise":
            draw_rises(panel, _at_end(table, network), place, end)
        else:
            draw_split(panel, end, place, SPLIT_COLOURS, scale="log")
    if measure == "interior_rise":
        for place, network in enumerate(networks):
            claims = [*_interior(network), f"{CLAIM}smoothed"]
            across = (place - 0.4, place + 0.4)
            style.draw_claimed(panel, claims, RISE, across=across, told=None)
    elif measure == "rise_above_last":
        style.draw_claimed(panel, f"{CLAIM}last-layer-low", ABOVE_LAST, told=None)
    else:
        style.draw_claimed(panel, f"{CLAIM}hierarchy-grows", GROWTH, told=None)
    names = [_short(network) for network in networks]
    panel.set_xticks(range(len(networks)), names, fontsize=5, rotation=90)
    panel.set_xlim(-0.6, len(networks) - 0.4)
    panel.set_title(JUDGED[measure], fontsize=7)
    panel.grid(axis="x", visible=False)
    if measure != "spread":
        panel.set_ylim(0, None)


def _short(network: tuple) -> str:
    architecture = SHORT.get(network.architecture, name_of(network.architecture))
    return f"{architecture}\n{SHORT.get(network.dataset, style.dataset_name(network.dataset))}"


def _at_end(table: pd.DataFrame, network: tuple) -> pd.DataFrame:
    """Return the alignments of a network at the end of training."""
    rows = style.select(table, **network._asdict(), measure="alignment")
    return rows[rows["step"] == rows.groupby(["seed", "split"])["step"].transform("max")]


def _interior(network: tuple) -> list[str]:
    """Return ids of claims that a network has an interior maximum, if any."""
    kind = {
        "fully_connected": f"fc-{SHORT.get(network.dataset, '').lower().replace('-', '')}",
        "resnet18": "resnet18",
    }.get(network.architecture, network.architecture.rstrip("0123456789"))
    if kind in ("resnet18", "vgg") and network.dataset != "cifar10":
        return []
    own = f"{CLAIM}{kind}.interior-maximum"
    return [own, f"{own}-train"] if kind in OF_ONE else []


def _order(stage: str) -> tuple:
    """Sort stages: initialisation, then falling losses, then what was cut off."""
    loss = float(stage.removeprefix("loss ")) if stage.startswith("loss ") else 0.0
    return (stage != "initial", -loss)
