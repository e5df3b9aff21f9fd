"""Draw any figure of any paper from its table: the command line of every plot."""

import argparse
import difflib
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

# A notebook names a backend of its own, which need not be installed here; a builder a date
os.environ["MPLBACKEND"] = "agg"
os.environ.pop("SOURCE_DATE_EPOCH", None)

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment import command
from feature_alignment.plots import style
from feature_alignment.storage import replacing
from feature_alignment.tables import read_meta, read_table

PAPERS = Path(__file__).resolve().parents[1] / "papers"


def main(argv: Sequence[str] | None = None) -> None:
    """Draw a figure and save it as PDF and PNG; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", required=True, help="<paper>/<figure>")
    parser.add_argument("--table", type=Path, required=True, help="table behind the figure (CSV)")
    parser.add_argument("--arrays", default="", help="arrays behind the figure (NPZ), if any")
    parser.add_argument("--pdf", type=Path, required=True, help="figure to write")
    parser.add_argument("--png", type=Path, required=True, help="the same as a bitmap")
    arguments = parser.parse_args(argv)
    figure = draw(arguments.figure, arguments.table, arguments.arrays)
    save(figure, arguments.pdf, arguments.png)
    plt.close(figure)


def draw(name: str, table: Path | str, arrays: Path | str = "") -> Figure:
    """Draw a figure, with a footer that says what it was made from.

    Args:
        name: ``<paper>/<figure>``, for the module ``papers/<paper>/plots/<figure>.py``.
        table: The table behind it (CSV), with its provenance beside it.
        arrays: The arrays behind it (NPZ); not read where the figure shows none.

    Raises:
        ValueError: If there is no such figure, or the table lacks a column, or the figure an array.
    """
    module = find_figure(name)
    inputs = [read_table(table, module.COLUMNS)]
    wanted = getattr(module, "ARRAYS", ())
    if wanted:
        inputs.append(read_arrays(arrays, wanted))
    with style.own_style():
        figure = module.figure(*inputs)
        text = style.footer(read_meta(table))
        figure.text(0.995, -0.005, text, ha="right", va="top", fontsize=6.5, color="0.35")
    return figure


def find_figure(name: str) -> ModuleType:
    """Return the module that draws ``<paper>/<figure>``.

    Raises:
        ValueError: If there is none.
    """
    known = {f"{path.parts[-3]}/{path.stem}" for path in PAPERS.glob("*/plots/[a-z0-9]*.py")}
    if name in known:
        paper, figure = name.split("/")
        module = importlib.import_module(f"feature_alignment.papers.{paper}.plots.{figure}")
        if hasattr(module, "COLUMNS"):  # else it is what several figures share
            return module
    near = difflib.get_close_matches(name, known - {name}, n=3, cutoff=0)
    raise ValueError(
        f"expected <paper>/<figure>, got {name!r}, for which there is no plot; near it: "
        + ", ".join(near)
    )


def read_arrays(path: Path | str, names: Sequence[str]) -> dict[str, NDArray]:
    """Return the named arrays of an NPZ file.

    Raises:
        ValueError: If no file is given, or it lacks an array.
    """
    if not path:
        raise ValueError(
            f"this figure shows arrays ({', '.join(names)}); name their file: --arrays"
        )
    with np.load(path, allow_pickle=False) as file:
        missing = [name for name in names if name not in file]
        if missing:
            raise ValueError(f"{path} lacks the array {missing[0]!r}; it has: {', '.join(file)}")
        return {name: file[name] for name in names}


def save(figure: Figure, pdf: Path, png: Path) -> None:
    """Save a figure as PDF and PNG, without a date, so that the same figure is the same bytes."""
    kinds = ((pdf, "pdf", "pdf", "CreationDate"), (png, "png", "agg", "Software"))
    for path, kind, backend, undated in kinds:
        with replacing(path) as temporary, style.own_style():
            figure.savefig(
                temporary,
                format=kind,
                backend=backend,
                metadata={undated: None},
                bbox_inches="tight",
            )


if __name__ == "__main__":
    command.run(main)
