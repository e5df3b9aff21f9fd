"""Experiment E1: alignment of the layers of several networks, before and after training."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import SPLITS, draw_layers, name_of
from feature_alignment.plots import style

COLUMNS = ("dataset", "architecture", "stage", "layer_index")
ACROSS = 3


def figure(table: pd.DataFrame) -> Figure:
    """Draw a panel per network, a colour per stage, test solid and training examples dashed."""
    networks = list(table[["architecture", "dataset"]].drop_duplicates().itertuples(index=False))
    drawn, grid = style.panels(-(-len(networks) // ACROSS), ACROSS)
    panels = [panel for row in grid for panel in row]
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
        panel.set(xlabel="layer", ylim=(0, None))
        panel.legend(fontsize=6)
    for panel in panels[len(networks) :]:
        panel.set_visible(False)
    for row in grid:
        row[0].set_ylabel("alignment")
    return drawn


def _order(stage: str) -> tuple:
    """Sort stages: initialisation, then falling losses, then what was cut off."""
    loss = float(stage.removeprefix("loss ")) if stage.startswith("loss ") else 0.0
    return (stage != "initial", -loss)
