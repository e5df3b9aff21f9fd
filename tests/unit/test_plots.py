"""Every figure, drawn from its published table."""

import os
import subprocess
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from conftest import ROOT
from feature_alignment import tables
from feature_alignment.audit.claims import read_claims
from feature_alignment.audit.criterion import Range
from feature_alignment.audit.judging import Rows
from feature_alignment.audit.verdicts import decide
from feature_alignment.plots import draw, style
from feature_alignment.run.spec import read_yaml

PUBLISHED = ROOT / "reference/laptop/tables"
FIGURES = sorted(f"{path.parent.name}/{path.stem}" for path in PUBLISHED.glob("*/*.csv"))
META = {"spec": {"scale": "smoke"}, "seeds": [2], "datasets": {"digits": {"note": "stand-in"}}}


def arrays_path(name):
    """Return the path of the published arrays of a figure, empty where it shows none."""
    return PUBLISHED / f"{name}.npz" if hasattr(draw.find_figure(name), "ARRAYS") else ""


def inputs(name):
    """Return the published table of a figure, with declared columns alone, and its arrays."""
    module = draw.find_figure(name)
    table = draw.of_seeds(tables.read_table(PUBLISHED / f"{name}.csv", module.COLUMNS))
    table = table[[*(name for name in tables.COLUMNS if name != "at"), *module.COLUMNS]]
    arrays = getattr(module, "ARRAYS", ())
    return [table, draw.read_arrays(arrays_path(name), arrays)] if arrays else [table]


def run(folder, name, **changes):
    """Draw a figure as a program does and return the bytes of PDF and PNG."""
    paths = {"table": PUBLISHED / f"{name}.csv", "arrays": arrays_path(name)}
    paths |= {"pdf": folder / "figure.pdf", "png": folder / "figure.png"} | changes
    draw.main([f"--figure={name}", *(f"--{option}={path}" for option, path in paths.items())])
    return [paths[kind].read_bytes() for kind in ("pdf", "png")]


def contents(figure):
    """Return all curves, areas and points of a figure as lists of places, and its images.

    Without what is marked: bounds of claims, what a paper reports, and correlations of ranks.
    """
    shown = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    lines = [line for axes in shown for line in axes.lines if not line.get_gid()]
    places = [line.get_xydata() for line in lines]
    areas = [area for axes in shown for area in axes.collections if not area.get_gid()]
    for area in areas:
        points = isinstance(area, PathCollection)
        places += [area.get_offsets()] if points else [p.vertices for p in area.get_paths()]
    pixels = [image.get_array() for axes in shown for image in axes.images]
    plt.close(figure)
    return [np.asarray(part) for part in places if len(part)], [np.asarray(p) for p in pixels]


def same(one, other):
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=True)


def panels(figure):
    """Return the axes that show data, but for parts of an image and scales of colour."""
    return [a for a in figure.axes if a.axison and a.get_label() not in ("<colorbar>", "part")]


def legends(figure):
    """Return, for every legend, whether it covers data, and the size of its letters."""
    told = []
    found = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    for legend in [*found, *figure.legends]:
        box = legend.get_window_extent()
        covered = [
            axes
            for axes in figure.axes
            if axes.axison and box.overlaps(axes.get_window_extent().padded(-1))
        ]
        told.append((bool(covered), min(text.get_fontsize() for text in legend.get_texts())))
    return told


def claimed(figure):
    """Return, by id of a claim, the bounds that are drawn of it."""
    bounds = {}
    for artist in figure.findobj(lambda artist: "." in (artist.get_gid() or "")):
        if isinstance(artist, Line2D):
            values = artist.get_ydata()
        elif isinstance(artist, Rectangle):
            upright = artist.get_height() == 1  # of the height of the panel
            start, size = artist.get_xy()[not upright], (artist.get_width(), artist.get_height())
            values = [start, start + size[not upright]]
        elif isinstance(artist, PolyCollection):
            values = artist.get_paths()[0].vertices[:, 1]
        for claim in artist.get_gid().split():
            bounds.setdefault(claim, set()).update(float(f"{value:.6g}") for value in values)
    return bounds


@pytest.fixture(scope="module", params=FIGURES)
def published(request):
    """What a figure shows that is drawn from its published table."""
    name = request.param
    figure = draw.draw(name, PUBLISHED / f"{name}.csv", arrays_path(name))
    with style.own_style():
        figure.draw_without_rendering()
    facts = {
        "letters": [axes.get_title(loc="left")[:4].strip() for axes in panels(figure)],
        "legends": legends(figure),
        "claimed": claimed(figure),
    }
    return SimpleNamespace(name=name, contents=contents(figure), **facts)


def test_every_published_table_is_of_a_figure_of_the_registry():
    papers = {path.parent.name: read_yaml(path) for path in ROOT.glob("papers/*/paper.yaml")}
    named = [f"{paper}/{figure}" for paper in papers for figure in papers[paper]["figures"]]
    assert set(FIGURES) <= set(named)
    assert len(FIGURES) >= 37  # those of the first publication; later ones are told as not yet


@pytest.mark.parametrize("name", [name for name in FIGURES if arrays_path(name)])
def test_the_same_table_gives_the_same_bytes(name, tmp_path):
    """So it does of all figures in a process of their own: the workflow's tests see to that."""
    pdf, png = run(tmp_path, name)
    assert pdf.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")
    assert run(tmp_path, name) == [pdf, png]


def test_the_values_matter_to_all_that_is_drawn(published):
    table, *arrays = inputs(published.name)
    changed = table.assign(value=0.7 * table["value"] + 0.05 * table["value"] ** 2)
    arrays = [
        {key: 0.7 * array if array.dtype.kind == "f" else array for key, array in given.items()}
        for given in arrays
    ]
    first, _ = published.contents
    second, _ = contents(draw.find_figure(published.name).figure(changed, *arrays))
    assert first
    kept = [part for part, other in zip(first, second, strict=True) if same(part, other)]
    # But not to lines of reference, which are horizontal
    assert all(len(set(part[:, 1])) == 1 for part in kept)
    assert len(kept) < len(first) / 2


def test_panels_have_letters_unless_there_is_but_one(published):
    count = len(published.letters)
    expected = [f"({letter})" for letter in "abcdefghijklmnopqrstuvwxyz"[:count]]
    assert published.letters == (expected if count > 1 else [""])


@pytest.mark.parametrize("layout", ["constrained", "none"])
def test_both_files_show_panels_at_the_same_places(tmp_path, layout):
    with style.own_style():
        figure, axes = plt.subplots(1, 2)
        figure.set_layout_engine(layout)
        axes[0].set_ylabel("a label that takes room")
    places = []
    for axis in axes:
        draws = axis.draw
        axis.draw = lambda renderer, axis=axis, draws=draws: (
            places.append((axis is axes[0], *axis.get_position().bounds)),
            draws(renderer),
        )
    draw.save(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    plt.close(figure)
    assert len(places) >= 6
    assert len(set(places[2:])) == 2  # the first time is before anything has its place


def test_legends_cover_no_data_and_can_be_read(published):
    for covers, size in published.legends:
        assert not covers
        assert size >= 5.5


CLAIMS = {
    claim["id"]: claim
    for claim in read_claims(
        sorted(ROOT.glob("papers/*/claims.yaml")), ROOT / "workflow/schemas/claims.schema.yaml"
    )
}
FIXED_BOUND = ("at_least", "at_most", "equals", "crosses")
NOT_DRAWN = {
    "lou2022.e2.forward-rate": "algebra, at one place far to the right",
    "lou2022.e2.leading-order": "algebra, at one place far to the right",
    "lou2022.c4.forward-rate": "algebra, at one place far to the right",
    "beaglehole2024.b6.prediction.square": "some of the points that have the bounds of others",
    "beaglehole2024.b6.first-step": "algebra",
}
RELATIVE = {
    "lou2022.c2.peak-stays-near": "around the equilibrium layer",
    "lou2022.c3.peak-stays-near": "around the equilibrium layer",
    "beaglehole2024.c1.square-root-fits-better": "",
}


def bounds_of(claim):
    """Return the numbers that a claim asks for, on the scale of its measure."""
    test = claim["test"]
    values = {test[key] for key in ("bound", "min_factor", "tolerance") if key in test}
    if "expected" in test:
        values |= {test["expected"] + sign * test["tolerance"] for sign in (-1, 1)}
    if str(test.get("y", "")).endswith("log10_mean_ratio"):
        values |= {10 ** test["bound"]}
    values |= set(test.get("between", ()))
    return {float(f"{value:.6g}") for value in values}


def test_what_is_claimed_is_drawn(published):
    own = [c for c in CLAIMS.values() if c["evidence"]["table"] == published.name]
    wanted = {
        claim["id"]
        for claim in own
        if claim["test"]["criterion"] in FIXED_BOUND
        and claim["needs"] == "laptop"
        and claim["test"].get("y") != "reached"  # a check of the run
    }
    assert wanted - set(NOT_DRAWN) <= set(published.claimed)
    assert not set(NOT_DRAWN) & set(published.claimed)


def test_bounds_that_are_drawn_are_those_of_claims_on_the_figure(published):
    for name, bounds in published.claimed.items():
        claim = CLAIMS[name]
        assert claim["evidence"]["table"] == published.name
        assert claim["test"]["criterion"] != "rank_correlates"  # an exact test has no bound
        if claim["test"]["criterion"] in FIXED_BOUND and name not in RELATIVE:
            assert bounds <= bounds_of(claim), name


@pytest.mark.parametrize("name", [name for name in FIGURES if arrays_path(name)])
def test_the_arrays_matter(name):
    table, arrays = inputs(name)
    figure_of = draw.find_figure(name).figure
    drawn = contents(figure_of(table, arrays))
    shown = [key for key, array in arrays.items() if array.dtype.kind == "f"]
    assert shown
    for key in shown:
        turned = contents(figure_of(table, arrays | {key: np.flip(arrays[key], -1)}))
        pairs = [zip(one, other, strict=True) for one, other in zip(drawn, turned, strict=True)]
        assert not all(same(one, other) for pair in pairs for one, other in pair), key


def test_arrays_of_something_else_are_an_error_that_names_them(tmp_path):
    name = "lejeune2024/fig1_kernel_alignment"
    arrays = tables.read_arrays(arrays_path(name))
    other = {"targets": np.asarray([f"no {target}" for target in arrays["targets"]])}
    np.savez(tmp_path / "other.npz", **arrays | other)
    with pytest.raises(ValueError, match=rf"csv and .*other\.npz: {name} cannot be drawn of them"):
        draw.draw(name, PUBLISHED / f"{name}.csv", tmp_path / "other.npz")


@pytest.mark.parametrize("name", FIGURES)
def test_a_missing_column_is_an_error(name, tmp_path):
    rows = pd.read_csv(PUBLISHED / f"{name}.csv", nrows=1)
    for column in (*draw.find_figure(name).COLUMNS, "split"):
        tables.write_table(tmp_path / "table.csv", rows.drop(columns=column), META)
        with pytest.raises(ValueError, match=f"lacks the column '{column}'"):
            run(tmp_path, name, table=tmp_path / "table.csv")


@pytest.mark.parametrize("name", [name for name in FIGURES if arrays_path(name)])
def test_missing_arrays_are_an_error(name, tmp_path):
    with pytest.raises(ValueError, match="shows arrays .*; name their file: --arrays"):
        run(tmp_path, name, arrays="")
    *others, last = draw.find_figure(name).ARRAYS
    np.savez(tmp_path / "arrays.npz", **dict.fromkeys(others, 0.0))
    with pytest.raises(ValueError, match=f"lacks the array '{last}'; it has: {', '.join(others)}"):
        run(tmp_path, name, arrays=tmp_path / "arrays.npz")


def test_another_table_gives_other_bytes(tmp_path):
    name = "lejeune2024/fig2_penalties"
    [table] = inputs(name)
    tables.write_table(
        tmp_path / "table.csv",
        table.assign(value=table["value"] * 0.7),
        tables.read_meta(PUBLISHED / f"{name}.csv"),
    )
    changed = run(tmp_path, name, table=tmp_path / "table.csv")
    for one, other in zip(changed, run(tmp_path, name), strict=True):
        assert one != other


@pytest.mark.parametrize(
    "name, near",
    [
        ("baratin2021/fig2_spectra", "baratin2021/fig2_spectrum"),
        ("fig2_spectrum", "baratin2021/fig2_spectrum"),
        ("baratin2021/noise", "baratin2021/"),  # what figures share
        ("lou2022/__init__", "lou2022/"),
        ("../tests/a1_half_disk", "baratin2021/a1_half_disk"),
        ("", "lou2022/"),
    ],
)
def test_an_unknown_figure_is_an_error_that_names_near_ones(name, near):
    with pytest.raises(ValueError, match=f"got {name!r}, for which there is no plot; .*{near}"):
        draw.find_figure(name)


def test_images_lie_with_their_first_row_at_the_bottom():
    name = "baratin2021/fig1_eigenfunctions"
    table, arrays = inputs(name)
    figure = draw.find_figure(name).figure(table, arrays)
    shown = [axes.images[0] for axes in figure.axes if axes.images]
    assert {image.origin for image in shown} == {"lower"}
    assert {tuple(image.get_extent()) for image in shown} == {(-1, 1, -1, 1)}
    np.testing.assert_array_equal(shown[0].get_array(), arrays["eigenfunctions"][0, 0])
    np.testing.assert_array_equal(shown[-1].get_array(), arrays["outputs"][-1])
    assert all(image.norm.vmin == -image.norm.vmax < 0 for image in shown)  # white is zero
    plt.close(figure)


def test_the_curve_of_the_whole_kernel_leaves_its_layers_out():
    name = "baratin2021/fig3_alignment"
    [table] = inputs(name)
    drawn = draw.find_figure(name).figure(table)
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
    name = "baratin2021/fig4_difficulty"
    drawn = draw.find_figure(name).figure(*inputs(name))
    titles = [axes.get_title() for axes in drawn.axes[:2]]
    assert titles == ["difficult: random labels", "difficult: Fashion-MNIST"]
    plt.close(drawn)


def test_rows_are_selected_by_value_and_by_absence():
    table = pd.DataFrame({"layer": ["a", None, "b", None], "seed": [0, 0, 1, 1]})
    assert style.select(table, layer="b").index.tolist() == [2]
    assert style.select(table, layer=None, seed=0).index.tolist() == [1]
    assert style.select(table.astype({"layer": "string"}), layer="a").index.tolist() == [0]


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


ROWS = [(0, 1.0), (0, 2.0), (0, 3.0), (4, 1.0), (4, 10.0), (4, 100.0), (9, 5.0), (9, 5.0)]
FIRST_LOOK = 6.2053
"""Student's t of two degrees of freedom that 1.25 % lie beyond: the first look has 2.5 %."""


def test_a_band_is_the_mean_over_seeds_with_its_interval():
    line, sides = band("linear", "linear", ROWS)
    assert line == {0: 2, 4: 37, 9: 5}
    half = FIRST_LOOK / 3**0.5  # the standard deviation of 1, 2 and 3 is 1
    assert sides[0] == pytest.approx([2 - half, 2 + half], rel=1e-4)
    assert sides[9] == [5]  # two seeds have no interval yet


def test_a_band_on_a_logarithmic_axis_is_of_the_logarithms():
    line, sides = band("linear", "log", [*ROWS, (9, 0.0)])
    assert line == pytest.approx({0: 6 ** (1 / 3), 4: 10, 9: 5})
    half = FIRST_LOOK / 3**0.5
    assert sides[4] == pytest.approx([10 / 10**half, 10 * 10**half], rel=1e-3)


VALUES = pd.Series([0.2, 0.5, 0.9, 1.4, 4.0]).rename_axis("seed")


@pytest.mark.parametrize("count", [3, 4, 5, 7, 8, 11])
@pytest.mark.parametrize("scale", ["plain", "log", "fisher", "logit"])
def test_the_interval_is_the_one_that_is_judged(count, scale):
    values = pd.Series(np.random.default_rng(count).uniform(0.1, 0.9, count)).rename_axis("seed")
    judged = decide(Rows.scaled(values, Range(0.5), scale, ""))
    groups = np.zeros(count)
    [found] = style.judged_on(values, scale, groups).to_numpy()
    assert found.tolist() == pytest.approx([judged.estimate, judged.low, judged.high])
    two = pd.concat([values, values[::-1]])  # groups do not get in each other's way
    found = style.judged_on(two, scale, [0] * count + [1] * count).to_numpy()
    judged = [
        judged,
        decide(
            Rows.scaled(
                values[::-1].reset_index(drop=True).rename_axis("seed"), Range(0.5), scale, ""
            )
        ),
    ]
    expected = [[part.estimate, part.low, part.high] for part in judged]
    assert found.tolist() == [pytest.approx(ends) for ends in expected]


@pytest.mark.parametrize("values", [[0.2], [0.2, 0.4], [0.3, 0.3, 0.3]])
def test_no_interval_is_drawn_where_none_is_judged(values):
    judged = decide(Rows.scaled(pd.Series(values).rename_axis("seed"), Range(0.5), "plain", ""))
    assert np.isnan([judged.low, judged.high]).all()
    [found] = style.judged_on(pd.Series(values), "plain", np.zeros(len(values))).to_numpy()
    assert found.tolist() == pytest.approx([np.mean(values)] * 3)


@pytest.mark.parametrize(
    "axis, scale, expected",
    [
        ("linear", None, "plain"),
        ("log", None, "log"),
        ("linear", "log", "log"),
        ("log", "plain", "plain"),
        ("linear", "fisher", "fisher"),
    ],
)
def test_seeds_are_points_and_their_interval_a_bar(axis, scale, expected):
    figure, axes = plt.subplots()
    axes.set_yscale(axis)
    values = VALUES / 10
    style.draw_seeds(axes, 3, values, "k", scale=scale)
    seeds, bar, mean = axes.lines
    assert seeds.get_ydata().tolist() == values.tolist()
    [ends] = style.judged_on(values, expected, np.zeros(len(values))).to_numpy()
    assert [*mean.get_ydata(), *bar.get_ydata()] == pytest.approx(ends.tolist())
    assert {*seeds.get_xdata(), *bar.get_xdata(), *mean.get_xdata()} == {3}
    plt.close(figure)


def test_a_panel_ends_where_seeds_do_and_tells_which_bars_go_on():
    figure, axes = plt.subplots()
    style.draw_seeds(axes, 0, pd.Series([1.0, 2.0, 3.0]), "k")  # −1.6 to 5.6
    style.draw_seeds(axes, 1, pd.Series([2.0, 2.0, 2.01]), "k")
    assert axes.get_ylim() == pytest.approx((0.9, 3.1))
    style.mark_cut(figure)
    cut = [line for line in axes.lines if line.get_gid() == "cut"]
    assert [(*line.get_xdata(), line.get_marker()) for line in cut] == [(0, "v"), (0, "^")]
    assert [*cut[0].get_ydata(), *cut[1].get_ydata()] == pytest.approx([0.9, 3.1])
    plt.close(figure)


def test_a_band_does_not_stretch_its_panel():
    figure, axes = plt.subplots()
    rows = pd.DataFrame({"x": [0, 0, 0, 1, 1, 1], "value": [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]})
    style.draw_band(axes, rows, "x", "k", None)
    assert axes.get_ylim() == pytest.approx((0.9, 3.1))
    plt.close(figure)


def test_letters_are_put_before_titles_and_go_on_after_z():
    figure, axes = style.panels(1, 3)
    axes[0][0].set_title("first")
    axes[0][1].set_axis_off()
    style.letter(figure)
    assert [panel.get_title(loc="left") for panel in axes[0]] == ["(a) first", "", "(b)"]
    plt.close(figure)
    figure, axes = style.panels(3, 9)
    style.letter(figure)
    assert [panel.get_title(loc="left") for panel in axes[-1][-2:]] == ["(z)", "(aa)"]
    plt.close(figure)


def test_the_table_at_the_papers_settings_is_drawn_next_to_the_papers_values(tmp_path):
    name, table = "lejeune2024/fig4_sample_complexity", "lejeune2024/fig4_mnist_published.csv"
    figure = draw.draw(name, ROOT / "reference/paper/tables" / table)
    paper = [line for line in figure.axes[0].lines if line.get_gid() == "paper"]
    assert [len(line.get_xdata()) for line in paper] == [10, 10, 10]
    ours = figure.axes[0].lines[0]
    assert len(ours.get_xdata()) == 10
    plt.close(figure)


def test_step_0_is_left_out_where_steps_are_logarithmic():
    line, _ = band("log", "linear", ROWS)
    assert line == {4: 37, 9: 5}


def test_the_footer_tells_scale_seeds_and_copies_of_data():
    assert style.footer(META) == "scale: smoke  ·  n = 2 seeds  ·  digits: stand-in"


def test_a_dataset_without_an_entry_shows_its_own_name():
    note = {"datasets": {"mine": {"note": "a copy"}, "svhn": {"note": "whole"}}}
    assert style.footer(META | note).endswith("mine: a copy  ·  SVHN: whole")


HOUSE_STYLE = """
backend: TkAgg
interactive: True
text.usetex: True
text.latex.preamble: \\usepackage{not_installed}
font.family: serif
font.size: 30
axes.facecolor: black
axes.prop_cycle: cycler(color=["red"])
axes.formatter.use_locale: True
lines.antialiased: False
path.simplify_threshold: 1
agg.path.chunksize: 100
savefig.format: svg
savefig.transparent: True
savefig.pad_inches: 3
pdf.compression: 0
pdf.use14corefonts: True
image.cmap: gray
figure.autolayout: True
timezone: Asia/Tokyo
"""
SHOWN_WITH_ARRAYS = "lejeune2024/fig1_kernel_alignment"


@pytest.mark.parametrize(
    "environment",
    [
        {"MPLBACKEND": "module://not_installed.backend_inline", "SOURCE_DATE_EPOCH": "0"},
        {"MPLBACKEND": "no_such_backend", "SOURCE_DATE_EPOCH": "no date", "TZ": "Asia/Tokyo"},
        {"MPLCONFIGDIR": "/dev/null", "HOME": "/dev/null", "PYTHONWARNINGS": "error"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_the_surroundings_of_the_program_change_no_byte(environment, tmp_path):
    name = SHOWN_WITH_ARRAYS
    (tmp_path / "matplotlibrc").write_text(HOUSE_STYLE)
    program = [sys.executable, "-m", "feature_alignment.plots.draw", f"--figure={name}"]
    program += [f"--table={PUBLISHED / name}.csv", f"--arrays={arrays_path(name)}"]
    program += ["--pdf=drawn.pdf", "--png=drawn.png"]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment
    done = subprocess.run(program, cwd=tmp_path, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    drawn = [(tmp_path / f"drawn.{kind}").read_bytes() for kind in ("pdf", "png")]
    assert drawn == run(tmp_path, name)


def test_a_style_in_use_changes_no_byte_and_is_in_use_again_afterwards(tmp_path):
    name = SHOWN_WITH_ARRAYS
    plain = run(tmp_path, name)
    with plt.rc_context():
        plt.style.use("dark_background")
        plt.rcParams["savefig.dpi"] = 30
        chosen = dict(plt.rcParams)
        figure = draw.draw(name, PUBLISHED / f"{name}.csv", arrays_path(name))
        plt.rcParams["font.size"] = chosen["font.size"] = 30  # between drawing and saving
        draw.save(figure, tmp_path / "own.pdf", tmp_path / "own.png")
        assert dict(plt.rcParams) == chosen
        plt.close(figure)
    assert [(tmp_path / f"own.{kind}").read_bytes() for kind in ("pdf", "png")] == plain
