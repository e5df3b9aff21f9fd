import importlib

import numpy as np
import pytest

from conftest import ROOT
from feature_alignment.experiments.beaglehole2024 import collect
from feature_alignment.experiments.lejeune2024.penalties import curves
from feature_alignment.plots import style
from feature_alignment.spec import read_yaml
from feature_alignment.tables import tidy, write_table

META = {"spec": {"scale": "smoke"}, "seeds": [2], "datasets": {"digits": {"note": "stand-in"}}}


def measurements():
    rows = []
    for seed in range(2):
        for epoch in range(4):
            common = {"seed": seed, "step": epoch, "epoch": epoch, "dataset": "digits", "run": "r"}
            for split in ("train", "test"):
                for measure in ("loss", "accuracy"):
                    value = 0.5 / (1 + epoch) + 0.01 * seed
                    rows.append({**common, "split": split, "measure": measure, "value": value})
            for layer in ("linear1", "linear2"):
                for measure in (*collect.CORRELATIONS, "weight_change"):
                    value = 0.5 + 0.1 * epoch + 0.01 * seed
                    rows.append({**common, "layer": layer, "measure": measure, "value": value})
    return tidy(rows, ["dataset"])


def tables():
    ours = collect.since_first_epoch(measurements())
    found = {("beaglehole2024", name): make(ours) for name, make in collect.FIGURES.items()}
    grid = tidy(curves(np.linspace(0, 5, 11)), ["v"])
    return found | {("lejeune2024", "fig2_penalties"): grid}


def draw(paper, figure, table, folder):
    write_table(folder / "table.csv", table, META)
    module = importlib.import_module(f"feature_alignment.plots.{paper}.{figure}")
    paths = folder / "figure.pdf", folder / "figure.png"
    module.main(
        ["--table", str(folder / "table.csv"), "--pdf", str(paths[0]), "--png", str(paths[1])]
    )
    return [path.read_bytes() for path in paths]


def test_every_figure_of_the_registry_is_drawn_here_and_has_title_and_caption():
    papers = {p.stem: read_yaml(p)["figures"] for p in (ROOT / "config/experiments").glob("*.yaml")}
    registered = {(paper, figure) for paper, figures in papers.items() for figure in figures}
    assert registered == set(tables())
    titles = read_yaml(ROOT / "config" / "figures.yaml")
    assert registered == {(paper, figure) for paper, all_ in titles.items() for figure in all_}
    captions = {path.name for path in (ROOT / "workflow/report").glob("*.rst")}
    assert captions == {f"{paper}.{figure}.rst" for paper, figure in registered}


@pytest.mark.parametrize("paper, figure", tables())
def test_the_same_table_gives_the_same_bytes(paper, figure, tmp_path):
    table = tables()[paper, figure]
    pdf, png = draw(paper, figure, table, tmp_path)
    assert pdf.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")
    assert draw(paper, figure, table, tmp_path) == [pdf, png]


@pytest.mark.parametrize("paper, figure", tables())
def test_the_values_matter(paper, figure, tmp_path):
    table = tables()[paper, figure]
    _, png = draw(paper, figure, table, tmp_path)
    changed = table.assign(value=table["value"] * 0.7)
    assert draw(paper, figure, changed, tmp_path)[1] != png


def test_a_missing_condition_is_an_error(tmp_path):
    table = tables()["beaglehole2024", "b1_nfa_emergence"].drop(columns="dataset")
    with pytest.raises(ValueError, match="lacks the column 'dataset'"):
        draw("beaglehole2024", "b1_nfa_emergence", table, tmp_path)


def test_the_footer_tells_scale_seeds_and_copies_of_data():
    assert style.footer(META) == "scale: smoke  ·  n = 2 seeds  ·  digits: stand-in"


def test_collected_epochs_start_after_the_first_and_stages_are_marked():
    table = collect.since_first_epoch(measurements())
    assert sorted(table["epoch"].unique()) == [0, 1, 2]
    ends = collect.initial_and_final(table)
    assert ends.groupby("stage")["epoch"].unique().to_dict() == {"initial": [0], "final": [2]}
    assert len(ends) == 2 * 2 * 2 * len(collect.CORRELATIONS)
