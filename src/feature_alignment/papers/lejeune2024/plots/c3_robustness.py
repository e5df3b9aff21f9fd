"""Control C3: test errors under other initialisations, rates, a regulariser, and exact ridge."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lejeune2024.plots.models import COLOURS, NAMES
from feature_alignment.plots import style

COLUMNS = ("variant", "model", "n_train")


def figure(table: pd.DataFrame) -> Figure:
    """Draw a column per number of images and a line per variant, seeds as points."""
    errors = style.select(table, measure="error")
    sizes = sorted(errors.loc[errors["model"] != "ridge", "n_train"].unique())
    variants = list(errors["variant"].unique())
    drawn, [panels] = style.panels(1, len(sizes), sharey=True)
    for panel, n in zip(panels, sizes, strict=True):
        for place, (model, colour) in enumerate(COLOURS.items()):
            rows = style.select(errors, n_train=n, model=model)
            if rows.empty:
                continue
            heights = [
                variants.index(variant) + 0.15 * (place - 1.5) for variant in rows["variant"]
            ]
            panel.plot(
                rows["value"], heights, "o", color=colour, ms=3.5, alpha=0.8, label=NAMES[model]
            )
        panel.set(xlabel="test error (selected on held-out)", title=f"n = {n}")
    panels[0].set_yticks(range(len(variants)), variants)
    panels[0].invert_yaxis()
    panels[0].legend(fontsize=6)
    return drawn
