"""Control C2: does the most aligned layer follow the equilibrium layer, where inputs move it?"""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import draw_layers, mean_of
from feature_alignment.plots import style

COLUMNS = ("input_offset", "layer_index")


def figure(table: pd.DataFrame) -> Figure:
    """Draw alignment by layer for both kinds of inputs, with the equilibrium layers."""
    drawn, [panels] = style.panels(1, 2, sharey=True)
    for panel, split in zip(panels, ("test", "train"), strict=True):
        for offset, colour in zip(
            sorted(table["input_offset"].unique()), ("blue", "orange"), strict=False
        ):
            own = style.select(table, input_offset=offset)
            hue = style.COLOURS[colour]
            correlation = mean_of(own, "input_correlation")
            rows = style.select(own, split=split)
            draw_layers(panel, rows, hue, f"$c^1 = {correlation:.2f}$")
            place = mean_of(own, "equilibrium_layer_mean_field")
            panel.axvline(place, color=hue, linestyle=":", label=f"its equilibrium, {place:.1f}")
        panel.set(xlabel="layer", title=f"{split} examples")
        panel.legend(fontsize=6)
    panels[0].set(ylabel="alignment", ylim=(0, None))
    return drawn
