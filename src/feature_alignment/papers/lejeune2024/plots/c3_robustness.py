"""Control C3: test errors under other initialisations, rates, a regulariser, and exact ridge."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.lejeune2024.plots.models import COLOURS, NAMES
from feature_alignment.plots import style

COLUMNS = ("variant", "model", "n_train")
CLAIM = "lejeune2024.c3."
JUDGED = {  # measure, variant: how it is called, bounds and claim
    ("adaptive_minus_fixed", "He initialisation"): (
        "adaptive\nminus fixed,\nHe",
        {"most": 0},
        "he",
    ),
    ("adaptive_minus_baseline", "regularised"): (
        "regularised\nminus\nbaseline",
        {"most": 0},
        "regularised",
    ),
    ("ridge_minus_fixed", "baseline"): (
        "ridge minus\nfixed",
        {"least": -0.05},
        "training-near-ridge",
    ),
}
SHORT = {"He initialisation": "He\ninitialisation"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw errors by variant and model, differences that are judged, and the best of all ridges."""
    errors = style.select(table, measure="error")
    n = errors.loc[errors["model"] != "ridge", "n_train"].min()
    variants = list(errors["variant"].unique())
    drawn, [[all_errors, differences, reach]] = style.panels(1, 3, width_ratios=[4, 3, 2])
    here = style.select(errors, n_train=n)
    for place, (model, colour) in enumerate(COLOURS.items()):
        for x, variant in enumerate(variants):
            values = style.select(here, model=model, variant=variant)["value"]
            if len(values):
                shift = 0.16 * (place - 1.5)
                style.draw_seeds(all_errors, x + shift, values, colour, NAMES[model])
    all_errors.set_xticks(
        range(len(variants)), [SHORT.get(name, name) for name in variants], fontsize=6
    )
    all_errors.set(ylabel="test error", ylim=(0, None))
    all_errors.set_title(f"n = {n}, selected on held-out", fontsize=7)
    _draw_differences(differences, style.select(table, n_train=n))
    _draw_reach(reach, table)
    style.legend(drawn, style.CLAIMED)
    return drawn


def _draw_differences(panel: Axes, own: pd.DataFrame) -> None:
    shown = []
    for (measure, variant), (name, bounds, claim) in JUDGED.items():
        values = style.select(own, measure=measure, variant=variant)["value"]
        if values.empty:
            continue
        place = len(shown)
        style.draw_seeds(panel, place, values, style.COLOURS["brown"])
        across = (place - 0.4, place + 0.4)
        style.draw_claimed(panel, CLAIM + claim, **bounds, across=across, told=None)
        shown.append(name)
    panel.set_xticks(range(len(shown)), shown, fontsize=6)
    panel.set_xlim(-0.6, len(shown) - 0.4)
    panel.set_title(r"differences of errors", fontsize=7)


def _draw_reach(panel: Axes, table: pd.DataFrame) -> None:
    """Draw the best ridge, picked on the test set, and what the paper has for fixed features."""
    ridge = style.select(table, model="ridge")
    sizes = sorted(ridge["n_train"].unique())
    for place, n in enumerate(sizes):
        own = style.select(ridge, n_train=n)
        values = style.select(own, measure="oracle_error")["value"]
        style.draw_seeds(panel, place, values, COLOURS["ridge"])
        published = style.select(own, measure="published_error")["value"].mean()
        style.draw_paper(panel, place, published, label="the paper's fixed features")
    panel.set_xticks(range(len(sizes)), [f"n = {n}" for n in sizes])
    panel.set(xlim=(-0.6, len(sizes) - 0.4), ylim=(0, None))
    panel.set_title("ridge picked on test", fontsize=7)
