"""Figures redrawn from published tables, and a run compared with them."""

import shutil

import pytest
from repository import Repository

from conftest import ROOT
from feature_alignment.publish import agreement, rehearsal
from feature_alignment.run.spec import read_papers
from feature_alignment.storage import read_json, write_json
from feature_alignment.tables import meta_path, read_meta

pytestmark = pytest.mark.workflow

REDRAW = ("--config", "results=reference")
FIGURES = ("lejeune2024/fig2_penalties", "baratin2021/fig5_supernat")
TABLE = f"reference/smoke/tables/{FIGURES[1]}.csv"


@pytest.fixture(scope="module")
def published(made_once, tmp_path_factory):
    """A copy with what is published, and with two figures' tables of its own published at smoke."""
    repository = Repository.copy(tmp_path_factory.mktemp("published") / "copy")
    for folder in ("results/smoke", "figures/smoke", ".snakemake", "data/prepared"):
        shutil.copytree(made_once.path / folder, repository.path / folder, dirs_exist_ok=True)
    for path in made_once.files("figures/smoke/*/*"):
        if path.rpartition(".")[0].removeprefix("figures/smoke/") not in FIGURES:
            (repository.path / path).unlink()
    shutil.copytree(ROOT / "reference/laptop", repository.path / "reference/laptop")
    for figure in FIGURES:
        for ending in ("csv", "meta.json"):
            path = f"tables/{figure}.{ending}"
            target = repository.path / "reference/smoke" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repository.path / "results/smoke" / path, target)
    return repository


def test_a_published_run_agrees_with_itself_and_not_with_another(made_once, tmp_path):
    results, folder = made_once.path / "results/smoke", tmp_path / "reference"
    rehearsal.publish(results, [results / "tables"], folder)
    findings = agreement.agreement(results / "tables", folder)
    assert {finding.verdict for finding in findings} == {agreement.SAME}
    assert len(findings) == len(made_once.files("results/smoke/tables/*/*.csv"))
    assert read_json(folder / "ledger.json") == read_json(results / "audit/ledger.json")
    assert f"The {len(findings)} tables in `reference/smoke`" in (folder / "README.md").read_text()
    shutil.copytree(results / "tables", tmp_path / "tables")
    one, other = sorted((tmp_path / "tables").glob("lou2022/e[34]*.csv"))
    one.unlink()
    shutil.copy(other, one)
    apart = [f.table for f in agreement.agreement(tmp_path / "tables", folder) if f.reasons]
    assert apart == [f"lou2022/{one.stem}"]


def test_a_run_at_another_scale_is_not_published_as_a_rehearsal(tmp_path):
    ledger = tmp_path / "audit/ledger.json"
    ledger.parent.mkdir()
    shutil.copy(ROOT / "reference/laptop/ledger.json", ledger)
    with pytest.raises(ValueError, match=r"expected a run at scale smoke, got laptop"):
        rehearsal.publish(tmp_path, [], tmp_path / "reference")
    assert not (tmp_path / "reference").exists()


def plot_of(path):
    """Return the rule that draws the figure of a table."""
    return f"plot_{path.parent.name}_{path.stem.split('_')[0]}"


def test_the_published_figures_are_drawn_and_nothing_else_runs(published):
    tables = (ROOT / "reference/laptop/tables").glob("*/*.csv")
    jobs = published.planned("figures", *REDRAW)
    assert jobs.pop("figures") == 1
    assert jobs == {plot_of(path): 1 for path in tables}


def test_a_redrawn_figure_is_the_same_and_nothing_else_is_written(published):
    drawn = published.files("figures/smoke/*/*")
    kept = published.files("reference/**/*") | published.files("results/smoke/**/*")
    assert len(drawn) == 6
    shutil.rmtree(published.path / "figures/smoke")
    outcome = published.snakemake("figures", *REDRAW, "scale=smoke")
    assert outcome.status == 0, outcome.text
    assert published.files("figures/smoke/*/*") == drawn
    assert published.files("reference/**/*") | published.files("results/smoke/**/*") == kept
    written = published.files("results/reference/**/*")
    assert {path.split("/")[3] for path in written} == {"logs", "benchmarks"}
    assert "2 of " in outcome.text
    assert "figures are redrawn; there is no published table" in outcome.text
    assert "lejeune2024/fig1_kernel_alignment" in outcome.text


def test_ledger_and_costs_are_made_when_every_table_is_published(published):
    papers = read_papers(ROOT / "papers", ROOT / "workflow/schemas")
    made = []
    for paper in papers:
        for figure in papers[paper].figures:
            for ending in ("csv", "meta.json", "npz"):
                file = published.path / f"reference/laptop/tables/{paper}/{figure}.{ending}"
                if not file.exists():
                    file.parent.mkdir(exist_ok=True)
                    file.write_text("a dry run does not read it")
                    made.append(file)
    try:
        jobs = published.planned("all", *REDRAW)
    finally:
        for file in made:
            file.unlink()
    others = {name: count for name, count in jobs.items() if not name.startswith("plot_")}
    rules = ("judge_claims", "write_ledger_page", "write_captions", "tell_costs")
    assert others == dict.fromkeys(rules, 1)


MISTAKES = {
    "figures scale=paper": "in reference/paper/tables; found none of any figure; leave out",
    "plot_lejeune2024_fig1 scale=smoke": "found none of lejeune2024/fig1_kernel_alignment; leave",
    "publish scale=smoke": "publish: expected the results of a run, got results=reference",
    "collect_lejeune2024_fig1 scale=smoke": "training lejeune2024/students: expected the results",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_made_from_published_tables_is_refused(published, mistake):
    target, scale = mistake.split()
    outcome = published.snakemake("--dry-run", target, *REDRAW, scale)
    assert outcome.status != 0
    assert MISTAKES[mistake] in outcome.text


def test_a_run_is_compared_with_what_is_published(published):
    compare = ("compare", "--config", "scale=smoke")
    outcome = published.snakemake(*compare)
    assert outcome.status == 0, outcome.text
    assert "2 of 2 files are the same, byte by byte" in outcome.text
    assert "rule publish" not in outcome.text

    file = published.path / TABLE
    kept, kept_meta = file.read_text(), meta_path(file).read_text()
    *rows, last = kept.splitlines()
    columns, value = last.rsplit(",", 1)
    try:
        file.write_text("\n".join([*rows, f"{columns},{float(value) + 0.25!r}", ""]))
        write_json(meta_path(file), read_meta(file))  # whose checksum is that of another table
        outcome = published.snakemake(*compare)
        assert outcome.status == 0, outcome.text
        assert "1 of 2 files are the same, byte by byte" in outcome.text
        assert f"{FIGURES[1]}: 1 of {len(rows)} values differ by up to 0.25" in outcome.text
        assert f"| {FIGURES[1]} |" in (published.path / "results/smoke/comparison.md").read_text()
    finally:
        file.write_text(kept)
        meta_path(file).write_text(kept_meta)
