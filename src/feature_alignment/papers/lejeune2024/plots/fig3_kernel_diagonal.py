"""Figure 3: the diagonal of the path-averaged kernel against the teacher's output."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment import command
from feature_alignment.papers.lejeune2024.plots.kernels import TARGETS
from feature_alignment.plots import style

KINDS = {"averaged": (r"$\bar K$", "blue"), "initial": ("$K_0$", "grey")}


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["target"], figure, argv, images=True)


def figure(table: pd.DataFrame, images: dict[str, NDArray]) -> Figure:
    """Draw the diagonals of the first seed by target, and all seeds' ratios near to far."""
    drawn, [panels] = style.panels(1, len(TARGETS) + 1)
    for panel, (target, name) in zip(panels, TARGETS.items(), strict=False):
        index = list(images["targets"]).index(target)
        for kind, (label, colour) in KINDS.items():
            diagonal = images[f"diagonal_{kind}"]
            values = diagonal if diagonal.ndim == 1 else diagonal[index]
            hue = style.COLOURS[colour]
            panel.plot(images["y"], values, ".", ms=2.5, color=hue, label=label)
        panel.set(xlabel="teacher's output y", title=f"student of {name}", ylim=(0, None))
    panels[0].set_ylabel("diagonal of the kernel")
    panels[0].legend(fontsize=6)
    for place, target in enumerate(TARGETS):
        own = table[(table["target"] == target) & (table["measure"] == "peak_ratio")]
        panels[-1].plot([place] * len(own), own["value"], "o", ms=3.5, color=style.COLOURS["blue"])
    panels[-1].axhline(1, color="0.3", linewidth=0.8)
    panels[-1].set_xticks(range(len(TARGETS)), TARGETS.values())
    panels[-1].set(
        ylabel=r"median of $\bar K$'s diagonal," "\n|y| < 0.25 over |y| > 0.75",
        xlim=(-0.5, len(TARGETS) - 0.5),
        ylim=(0, None),
    )
    return drawn


if __name__ == "__main__":
    command.run(main)
