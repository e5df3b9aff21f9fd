"""E7: alignment of every layer against test error, at equal training loss."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import SPLIT_COLOURS
from feature_alignment.plots import style

COLUMNS = ("optimizer", "learning_rate", "batch_size", "layer_index")


def figure(table: pd.DataFrame) -> Figure:
    """Draw test error against each layer's alignment, and rank correlations by layer and split."""
    drawn, [[scatter, ranks]] = style.panels(1, 2)
    tested = table[table["split"] == "test"]
    layers = sorted(tested["layer_index"].dropna().unique())
    keys = ["run", "seed"]
    for layer, colour in zip(layers, style.shades(len(layers)), strict=True):
        own = style.select(tested, layer_index=layer)
        aligned = style.select(own, measure="alignment").set_index(keys)["value"]
        errors = style.select(own, measure="error").set_index(keys)["value"]
        label = f"layer {layer:.0f}" if layer in (layers[0], layers[-1]) else None
        look = {"markersize": 3, "alpha": 0.7, "markeredgewidth": 0, "label": label}
        scatter.plot(aligned, errors[aligned.index], "o", color=colour, **look)
    scatter.set(xlabel="alignment of a layer (test)", ylabel="test error", xlim=(0, None))
    for shift, (split, name) in zip((-0.12, 0.12), SPLIT_COLOURS.items(), strict=True):
        found = rank_correlations(style.select(table, split=split))
        for layer, values in found.groupby("layer_index"):
            look = {"gid": "ranks", "interval": False}
            hue = style.COLOURS[name]
            style.draw_seeds(ranks, layer + shift, values["value"], hue, f"{split} labels", **look)
    ranks.axhline(0, color="0.3", linewidth=0.6)
    ranks.set(xlabel="layer", ylim=(-1.1, 1.1), ylabel="rank correlation with accuracy")
    ranks.grid(axis="x", visible=False)
    style.legend(drawn)
    return drawn


def rank_correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation over settings of alignment with accuracy, by layer and seed."""
    keys = ["layer_index", "seed", "run"]
    values = {
        name: style.select(table, measure=name)
        .dropna(subset="layer_index")
        .set_index(keys)["value"]
        for name in ("alignment", "accuracy")
    }
    groups = pd.DataFrame(values).groupby(level=["layer_index", "seed"])
    ranks = groups.rank().groupby(level=["layer_index", "seed"])
    found = ranks.apply(lambda part: part["alignment"].corr(part["accuracy"]))
    return found.rename("value").reset_index()
