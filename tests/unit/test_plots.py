import importlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_tables import IMAGES, ansatz_collection, tables
from matplotlib.collections import PathCollection

from conftest import ROOT
from feature_alignment.papers.baratin2021.plots.disks import disk_figure
from feature_alignment.papers.beaglehole2024 import tables
from feature_alignment.plots import style
from feature_alignment.run.spec import read_yaml
from feature_alignment.tables import write_table

META = {"spec": {"scale": "smoke"}, "seeds": [2], "datasets": {"digits": {"note": "stand-in"}}}


def draw(paper, figure, folder, table, images=None):
    """Run the plot module as a program does and return the bytes of PDF and PNG."""
    write_table(folder / "table.csv", table, META)
    paths = {"table": "table.csv", "pdf": "figure.pdf", "png": "figure.png"}
    if images is not None:
        np.savez(folder / "images.npz", **images)
        paths["images"] = "images.npz"
    module = importlib.import_module(f"feature_alignment.plots.{paper}.{figure}")
    module.main([f"--{name}={folder / path}" for name, path in paths.items()])
    return [(folder / paths[kind]).read_bytes() for kind in ("pdf", "png")]


def images_of(paper, figure):
    return IMAGES[paper, figure]() if (paper, figure) in IMAGES else None


def test_every_figure_of_the_registry_is_drawn_here_and_has_title_and_caption():
    papers = {p.stem: read_yaml(p)["figures"] for p in (ROOT / "config/experiments").glob("*.yaml")}
    registered = {(paper, figure) for paper, figures in papers.items() for figure in figures}
    assert registered == set(tables())
    titles = read_yaml(ROOT / "config" / "figures.yaml")
    assert registered == {(paper, figure) for paper, all_ in titles.items() for figure in all_}
    captions = {path.name for path in (ROOT / "workflow/report").glob("*.*.rst")}
    assert captions == {f"{paper}.{figure}.rst" for paper, figure in registered}


def recipe(paper, figure):
    """Return the condition columns that a plot module asks for, and the function that draws."""
    asked = {}

    def note(description, conditions, figure_of, argv, *, images=False):
        asked.update(conditions=conditions, figure_of=figure_of)
        assert images == ((paper, figure) in IMAGES)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "draw", note)
        importlib.import_module(f"feature_alignment.plots.{paper}.{figure}").main([])
    return asked["conditions"], asked["figure_of"]


def contents(paper, figure, table, images=None):
    """Draw a figure and return its curves, areas and points as lists of places, and its images."""
    _, figure_of = recipe(paper, figure)
    drawn = figure_of(table) if images is None else figure_of(table, images)
    places = [line.get_xydata() for axes in drawn.axes for line in axes.lines]
    for area in (area for axes in drawn.axes for area in axes.collections):
        points = isinstance(area, PathCollection)
        places += [area.get_offsets()] if points else [p.vertices for p in area.get_paths()]
    pixels = [image.get_array() for axes in drawn.axes for image in axes.images]
    plt.close(drawn)
    return [part.tolist() for part in places], [part.tolist() for part in pixels]


@pytest.mark.parametrize("paper, figure", tables())
def test_the_same_table_gives_the_same_bytes(paper, figure, tmp_path):
    table, images = tables()[paper, figure], images_of(paper, figure)
    pdf, png = draw(paper, figure, tmp_path, table, images)
    assert pdf.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")
    assert draw(paper, figure, tmp_path, table, images) == [pdf, png]


def test_another_table_gives_other_bytes(tmp_path):
    name = ("lejeune2024", "fig2_penalties")
    table = tables()[name]
    changed = table.assign(value=table["value"] * 0.7)
    for one, other in zip(*(draw(*name, tmp_path, t) for t in (table, changed)), strict=True):
        assert one != other


@pytest.mark.parametrize("paper, figure", tables())
def test_the_values_matter_to_all_that_is_drawn(paper, figure):
    table, images = tables()[paper, figure], images_of(paper, figure)
    first, pixels = contents(paper, figure, table, images)
    assert first
    assert contents(paper, figure, table, images) == (first, pixels)
    changed = table.assign(value=0.7 * table["value"] + 0.05 * table["value"] ** 2)
    if images is not None:
        floats = {name: array for name, array in images.items() if array.dtype.kind == "f"}
        images = images | {name: 0.7 * array for name, array in floats.items()}
    second, _ = contents(paper, figure, changed, images)
    kept = [part for part, other in zip(first, second, strict=True) if part == other]
    # But not to lines of reference, which are horizontal
    assert all(len({y for _, y in part}) == 1 for part in kept)
    assert len(kept) < len(first) / 2


@pytest.mark.parametrize(
    "paper, figure, shown",
    [
        ("baratin2021", "fig1_eigenfunctions", ("outputs", "eigenfunctions")),
        ("baratin2021", "a1_half_disk", ("outputs", "eigenfunctions")),
        ("beaglehole2024", "b7_speed_limits", ("nfm", "agop")),
        ("lejeune2024", "fig1_kernel_alignment", ("kernel_averaged", "kernel_final")),
        ("lejeune2024", "fig3_kernel_diagonal", ("diagonal_averaged", "diagonal_initial", "y")),
    ],
)
def test_the_images_matter(paper, figure, shown):
    table, images = tables()[paper, figure], images_of(paper, figure)
    drawn = contents(paper, figure, table, images)
    for name in shown:
        turned = images | {name: -images[name]}
        assert contents(paper, figure, table, turned) != drawn


def test_every_figure_with_images_is_looked_at():
    [mark] = [m for m in test_the_images_matter.pytestmark if m.name == "parametrize"]
    assert {(paper, figure) for paper, figure, _ in mark.args[1]} == set(IMAGES)


@pytest.mark.parametrize("paper, figure", tables())
def test_a_missing_condition_is_an_error(paper, figure, tmp_path):
    conditions, _ = recipe(paper, figure)
    assert conditions
    for condition in conditions:
        table = tables()[paper, figure].drop(columns=condition)
        with pytest.raises(ValueError, match=f"lacks the column '{condition}'"):
            draw(paper, figure, tmp_path, table, images_of(paper, figure))


@pytest.mark.parametrize("paper, figure", IMAGES)
def test_a_figure_without_its_images_is_an_error(paper, figure, tmp_path):
    with pytest.raises(ValueError, match="shows arrays; name their file with --images"):
        draw(paper, figure, tmp_path, tables()[paper, figure])


def test_images_lie_with_their_first_row_at_the_bottom():
    images = IMAGES["baratin2021", "fig1_eigenfunctions"]()
    figure = disk_figure(tables()["baratin2021", "fig1_eigenfunctions"], images)
    shown = [axes.images[0] for axes in figure.axes if axes.images]
    assert {image.origin for image in shown} == {"lower"}
    assert {tuple(image.get_extent()) for image in shown} == {(-1, 1, -1, 1)}
    first = shown[0]
    np.testing.assert_array_equal(first.get_array(), images["eigenfunctions"][0, 0])
    np.testing.assert_array_equal(shown[-1].get_array(), images["outputs"][-1])
    assert all(image.norm.vmin == -image.norm.vmax < 0 for image in shown)  # white is zero
    plt.close(figure)


def test_the_curve_of_the_whole_kernel_leaves_its_layers_out():
    table = tables()["baratin2021", "fig3_alignment"]
    drawn = recipe("baratin2021", "fig3_alignment")[1](table)
    columns = len(table["label_noise"].unique())
    line = drawn.axes[columns].lines[0]  # second row, first column
    rows = table[
        (table["measure"] == "alignment")
        & (table["split"] == "train")
        & (table["label_noise"] == 0)
        & table["layer"].isna()
        & (table["step"] > 0)
    ]
    means = rows.groupby("step")["value"].mean()
    assert line.get_xdata().tolist() == means.index.tolist()
    assert line.get_ydata().tolist() == pytest.approx(means.tolist())
    plt.close(drawn)


def test_figure_4_has_random_labels_on_the_left():
    drawn = recipe("baratin2021", "fig4_difficulty")[1](tables()["baratin2021", "fig4_difficulty"])
    titles = [axes.get_title() for axes in drawn.axes[:2]]
    assert titles == ["difficult: random labels", "difficult: Fashion-MNIST"]
    plt.close(drawn)


def band(x_scale, y_scale, rows):
    """Return the line and the band that are drawn for rows of (x, value)."""
    figure, axes = plt.subplots()
    axes.set(xscale=x_scale, yscale=y_scale)
    style.draw_band(axes, pd.DataFrame(rows, columns=["x", "value"]), "x", "k", "label")
    [line], [area] = axes.lines, axes.collections
    corners = area.get_paths()[0].vertices
    plt.close(figure)
    sides = {x: sorted({y for place, y in corners if place == x}) for x in line.get_xdata()}
    return dict(zip(line.get_xdata(), line.get_ydata(), strict=True)), sides


ROWS = [(0, 1.0), (0, 3.0), (4, 1.0), (4, 100.0), (9, 5.0)]


def test_a_band_is_mean_and_deviation_over_seeds():
    line, sides = band("linear", "linear", ROWS)
    assert line == {0: 2, 4: 50.5, 9: 5}
    deviation = 2**0.5
    assert sides[0] == pytest.approx([2 - deviation, 2 + deviation])
    assert sides[9] == [5]  # one seed has no deviation


def test_a_band_on_a_logarithmic_axis_is_of_the_logarithms():
    line, sides = band("linear", "log", [*ROWS, (9, 0.0)])
    assert line == pytest.approx({0: 3**0.5, 4: 10, 9: 5})
    assert sides[4] == pytest.approx([10 / 10 ** (2**0.5), 10 * 10 ** (2**0.5)])


def test_step_0_is_left_out_where_steps_are_logarithmic():
    line, _ = band("log", "linear", ROWS)
    assert line == {4: 50.5, 9: 5}


def test_the_footer_tells_scale_seeds_and_copies_of_data():
    assert style.footer(META) == "scale: smoke  ·  n = 2 seeds  ·  digits: stand-in"


def test_collected_epochs_start_after_the_first_and_stages_are_marked():
    table = tables.emergence(ansatz_collection("b1_nfa_emergence"))
    assert sorted(table["epoch"].unique()) == [0, 1, 2, 3]
    ends = tables.stages(table)
    assert ends.groupby("stage")["epoch"].unique().to_dict() == {"initial": [0], "final": [3]}
    assert len(ends) == 2 * 2 * 2 * len(tables.CORRELATIONS)
