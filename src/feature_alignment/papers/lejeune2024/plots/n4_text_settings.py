"""What figures 1 and 3 measure, with the settings of the code, of the text, and literally."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.lejeune2024.plots.kernels import (
    KERNEL_COLOURS,
    KERNELS,
    TARGETS,
    VARIANTS,
)
from feature_alignment.plots import style

COLUMNS = ("variant", "target")
CLAIM = "lejeune2024.n4."
IDENTITY_COLOURS = {"smooth": "sky", "sign": "red"}
VALUES = {"smooth": (0.17, 0.03), "sign": (0.4, 0.05)}
"""The paper's cosines of the averaged kernel, and the tolerances of figure 1's claims."""
ABOVE, PEAK, RIGHT, COLOUR_END, IDENTITY = 0.1, 1.7, (0.952, 0.01), 4.0, 0.01


def figure(table: pd.DataFrame) -> Figure:
    """Draw cosines by target and variant, and differences, ratios, teachers and diagonals."""
    drawn, [cosines, rest] = style.panels(2, 4)
    for panel, (target, name) in zip(cosines, TARGETS.items(), strict=False):
        _draw_cosines(panel, style.select(table, target=target), target)
        panel.set_title(f"cosine with $K_y$, target {name}", fontsize=7)
    _draw_variants(cosines[2], table, {"sign_minus_smooth": "red"})
    cosines[2].set_title(r"cosine of $\bar K$, sign $y$ minus $y$", fontsize=7)
    style.draw_claimed(cosines[2], f"{CLAIM}sign-above-smooth", ABOVE, across=(0.6, 1.4))
    _draw_identity(cosines[3], table)
    sign = style.select(table, target="sign")
    kinds = {"peak_ratio_initial": "grey", "peak_ratio": "blue"}
    _draw_variants(rest[0], sign, kinds, scale="log")
    rest[0].set_title("diagonal, near over far, sign $y$", fontsize=7)
    style.draw_claimed(rest[0], f"{CLAIM}peak-for-sign", PEAK, across=(0.6, 1.4))
    _draw_variants(rest[1], sign, {"teacher_sign_agreement": "brown"}, scale="logit")
    value, tolerance = RIGHT
    ends = (value - tolerance, value + tolerance)
    style.draw_claimed(rest[1], f"{CLAIM}teacher", *ends, across=(0.6, 1.4))
    style.draw_paper(rest[1], 1.3, value, label="the paper's value")
    rest[1].set_title("labels the teacher has right", fontsize=7)
    kinds = {"diagonal_far_initial": "grey", "diagonal_near_initial": "purple"}
    rest[2].set_yscale("log")
    _draw_variants(rest[2], sign, kinds)
    style.draw_paper(rest[2], (0.3, 1.3, 2.3), (COLOUR_END,) * 3)
    rest[2].set_title("diagonal of $K_0$, far (grey), near", fontsize=7)
    style.legend(drawn, style.CLAIMED, style.CLAIMED_RANGE, slot=rest[3])
    return drawn


def _draw_cosines(panel: Axes, own: pd.DataFrame, target: str) -> None:
    for place, variant in enumerate(VARIANTS):
        of_variant = style.select(own, variant=variant)
        for shift, (kernel, label) in zip((-0.2, 0, 0.2), KERNELS.items(), strict=True):
            values = style.select(of_variant, measure=f"cosine_{kernel}")["value"]
            colour = style.COLOURS[KERNEL_COLOURS[kernel]]
            style.draw_seeds(panel, place + shift, values, colour, label, "fisher")
    value, tolerance = VALUES[target]
    ends = (value - tolerance, value + tolerance)
    style.draw_claimed(panel, f"{CLAIM}{target}-value", *ends, across=(0.6, 1.4))
    style.draw_paper(panel, 1.3, value)
    _name_variants(panel)
    panel.set_ylim(0, 1)


def _draw_variants(
    panel: Axes, rows: pd.DataFrame, kinds: dict[str, str], scale: str | None = None
) -> None:
    shifts = (-0.12, 0.12) if len(kinds) > 1 else (0.0,)
    for place, variant in enumerate(VARIANTS):
        for shift, (measure, colour) in zip(shifts, kinds.items(), strict=True):
            values = style.select(rows, variant=variant, measure=measure)["value"]
            style.draw_seeds(panel, place + shift, values, style.COLOURS[colour], scale=scale)
    _name_variants(panel)


def _draw_identity(panel: Axes, table: pd.DataFrame) -> None:
    rows = style.select(table, measure="path_identity_error")
    for place, variant in enumerate(VARIANTS):
        for shift, (target, colour) in zip((-0.12, 0.12), IDENTITY_COLOURS.items(), strict=True):
            values = style.select(rows, variant=variant, target=target)["value"]
            label = f"target {TARGETS[target]}"
            style.draw_seeds(panel, place + shift, values, style.COLOURS[colour], label)
    style.draw_claimed(panel, f"{CLAIM}path-identity", most=IDENTITY, across=(0.6, 2.4))
    _name_variants(panel)
    panel.set_ylim(0, None)
    panel.set_title("error of the path integral", fontsize=7)


def _name_variants(panel: Axes) -> None:
    panel.set_xticks(range(len(VARIANTS)), VARIANTS.values(), fontsize=6)
    panel.set_xlim(-0.6, len(VARIANTS) - 0.4)
    panel.grid(axis="x", visible=False)
