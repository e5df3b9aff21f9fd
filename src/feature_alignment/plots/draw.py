"""Draw any figure of any paper from its table: the command line of every plot."""

import argparse
import difflib
import importlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

# A notebook names a backend of its own, which need not be installed here; a builder a date
os.environ["MPLBACKEND"] = "agg"
os.environ.pop("SOURCE_DATE_EPOCH", None)

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment import command, tables
from feature_alignment.evidence import read_evidence
from feature_alignment.plots import style
from feature_alignment.storage import replacing

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
        table: The table behind it (CSV), with its provenance next to it.
        arrays: The arrays behind it (NPZ); not read where the figure shows none.

    Raises:
        ValueError: If there is no such figure, the table lacks a column or is not what its
            provenance says, or arrays are missing or others than the figure declares.
    """
    module = find_figure(name)
    values, meta = read_evidence(table, module.COLUMNS, name)
    inputs = [of_seeds(values)]
    wanted = getattr(module, "ARRAYS", {})
    if wanted:
        inputs.append(read_arrays(arrays, wanted))
    with style.own_style():
        try:
            figure = module.figure(*inputs)
        except (ValueError, KeyError, IndexError) as error:
            given = f"{table} and {arrays}" if wanted else str(table)
            raise ValueError(f"{given}: {name} cannot be drawn of them: {error!r}") from error
        style.letter(figure)
        style.mark_cut(figure)
        text = style.footer(meta)
        if values["seed"].nunique() > 1:
            text += f"\n{style.INTERVALS}"
        figure.text(0.995, -0.005, text, ha="right", va="top", fontsize=6.5, color="0.35")
    return figure


def of_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with one row per seed where it has several replicates of it: their mean.

    Replicates are told by the column ``replicate``. They are runs of their own and may end at
    other steps, of which the first one's is kept.
    """
    if "replicate" not in table:
        return table
    of_replicate = ["run", "replicate", "step", "epoch"]
    keys = [name for name in table.columns if name not in (*of_replicate, "value")]
    groups = table.groupby(keys, dropna=False, sort=False)
    means = groups.agg({**dict.fromkeys(of_replicate, "first"), "value": "mean"}).reset_index()
    return means[table.columns]


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


def read_arrays(path: Path | str, axes: Mapping[str, Sequence[str]]) -> dict[str, NDArray]:
    """Return the named arrays of an NPZ file.

    Args:
        path: The file.
        axes: What each array's axes are, by its name; axes of one name are equally long.

    Raises:
        ValueError: If no file is given, it is damaged or lacks an array, or an array has other
            axes, is not of numbers or names, or holds what is not finite.
    """
    if not path:
        raise ValueError(f"this figure shows arrays ({', '.join(axes)}); name their file: --arrays")
    held = tables.read_arrays(path)
    missing = [name for name in axes if name not in held]
    if missing:
        raise ValueError(f"{path} lacks the array {missing[0]!r}; it has: {', '.join(held)}")
    lengths: dict[str, tuple[int, str]] = {}
    for name, along in axes.items():
        array = held[name]
        where = f"{path}: {name}"
        if array.ndim != len(along):
            known = ", ".join(along)
            raise ValueError(f"{where}: expected the axes ({known}), got the shape {array.shape}")
        for axis, length in zip(along, array.shape, strict=True):
            first, of = lengths.setdefault(axis, (length, name))
            if length != first or length == 0:
                raise ValueError(
                    f"{where}: expected {first or 'some'} along {axis!r}, as in {of}, got {length}"
                )
        if array.dtype.kind not in "iufU":
            raise ValueError(f"{where}: expected numbers or names, got the type {array.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise ValueError(f"{where}: expected finite numbers, got {count} that are not")
    return {name: held[name] for name in axes}


def save(figure: Figure, pdf: Path, png: Path) -> None:
    """Save a figure as PDF and PNG, without a date, so that the same figure is the same bytes.

    It is laid out and cropped once for both; by itself matplotlib would do so twice for each.
    """
    kinds = ((pdf, "pdf", "pdf", "CreationDate"), (png, "png", "agg", "Software"))
    with style.own_style():
        figure.draw_without_rendering()
        cropped = figure.get_tightbbox().padded(plt.rcParams["savefig.pad_inches"])
        with matplotlib.rc_context({"figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)  # "none" would be one more that is asked before drawing
            for path, kind, backend, undated in kinds:
                drawn = io.BytesIO()  # a full disk would end the PDF writer with zlib's error
                about = {"metadata": {undated: None}, "bbox_inches": cropped}
                figure.savefig(drawn, format=kind, backend=backend, **about)
                with replacing(path) as temporary:
                    temporary.write_bytes(drawn.getbuffer())


if __name__ == "__main__":
    command.run(main)
