"""Control C4: kernel regression with the initial, averaged and final kernels, and the network."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.lejeune2024.plots.kernels import KERNEL_COLOURS, KERNELS, TARGETS
from feature_alignment.plots import style

COLUMNS = ("target", "model")
MODELS = {**KERNELS, "network": "network"}
COLOURS = {**KERNEL_COLOURS, "network": "red"}
CLAIM = "lejeune2024.c4."
WITHIN = 0.02


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row of what is measured, by model and target, and a row of what is judged of it."""
    drawn, grid = style.panels(2, 2)
    shown = {"unexplained": "unexplained share of the target", "error": "error of the sign"}
    for panel, (measure, label) in zip(grid[0], shown.items(), strict=True):
        _draw_models(panel, table, measure, MODELS)
        panel.set(ylabel=label, ylim=(0, None))
    gains, distances = grid[1]
    _draw_models(gains, table, "gain", [name for name in MODELS if name != "initial"])
    gains.set_ylabel("unexplained with $K_0$, minus")
    claims = [f"{CLAIM}{name}-above-initial" for name in ("averaged", "final")]
    style.draw_claimed(gains, claims, 0, told=None)
    _draw_models(distances, table, "error_minus_network", KERNELS)
    distances.set_ylabel("error minus the network's")
    style.draw_claimed(distances, f"{CLAIM}final-matches-network", -WITHIN, WITHIN)
    style.legend(drawn, style.CLAIMED, style.CLAIMED_RANGE)
    return drawn


def _draw_models(panel: Axes, table: pd.DataFrame, measure: str, models: object) -> None:
    for place, (target, _) in enumerate(TARGETS.items()):
        own = style.select(table, target=target, measure=measure)
        for number, model in enumerate(models):
            values = style.select(own, model=model)["value"]
            x = place + 0.2 * (number - (len(models) - 1) / 2)
            colour = style.COLOURS[COLOURS[model]]
            style.draw_seeds(panel, x, values, colour, MODELS[model])
    panel.set_xticks(range(len(TARGETS)), [f"target {name}" for name in TARGETS.values()])
    panel.set_xlim(-0.6, len(TARGETS) - 0.4)
    panel.grid(axis="x", visible=False)
