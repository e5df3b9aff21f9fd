"""Mistakes that end a dry run, in a copy in which nothing was computed, and what is offered."""

import re

import pytest
from repository import Repository

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return Repository.copy(tmp_path_factory.mktemp("mistakes") / "copy")


MISTAKES = {
    "results=reference/laptop": "results: expected a folder for results alone, got 'reference/lap",
    "data_dir=/nowhere/at/all": "data_dir: expected a folder of raw data, got '/nowhere/at/all'",
    "seeds=10001": "seeds: 10001 is greater than the maximum of 10000",
    "seeds=.nan": "seeds: expected 'archived', got '.nan'",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_on_the_command_line_is_explained(repository, mistake):
    outcome = repository.snakemake("all", "--dry-run", "--config", mistake)
    assert outcome.status != 0
    assert MISTAKES[mistake] in outcome.text
    assert "Traceback" not in outcome.text


@pytest.mark.parametrize(
    "lines, said",
    [
        ("seeds: 1\nseeds: 2\n", "line 2: key 'seeds' is given twice"),
        ("results: src\n", "in src, which belongs to the repository"),
    ],
)
def test_a_further_configuration_file_is_checked_too(repository, tmp_path, lines, said):
    (tmp_path / "mine.yaml").write_text(lines)
    outcome = repository.snakemake("all", "--dry-run", "--configfile", str(tmp_path / "mine.yaml"))
    assert outcome.status != 0
    assert said in outcome.text


def test_published_numbers_are_checked(repository):
    path = "papers/lejeune2024/paper.yaml"
    repository.edit(path, "full: [0.068, ", "full: [-0.068, ")
    outcome = repository.snakemake("all", "--dry-run")
    repository.edit(path, "full: [-0.068, ", "full: [0.068, ")
    assert outcome.status != 0
    assert "published is not valid:\n  mnist.full.0: -0.068 is less than the minimum" in (
        outcome.text
    )


FIGURE = "lejeune2024/fig2_penalties"
TARGETS = {
    "plot_lejeune2024_fg2": "near it: plot_lejeune2024_fig2",
    "lejeune": "near it: lejeune2024",
    f"figures/laptop/{FIGURE[:-1]}.pdf": f"near it: figures/laptop/{FIGURE}.pdf",
    f"figures/smoke/{FIGURE}.pdf": "of scale laptop; add --config scale=smoke",
    "data/prepared/minst.json": "near it: data/prepared/mnist.json",
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_nothing_makes_is_told_with_what_is_near(repository, target):
    outcome = repository.snakemake("--dry-run", target)
    assert outcome.status != 0
    assert f"nothing makes {target!r}" in outcome.text
    assert TARGETS[target] in outcome.text
    assert "Traceback" not in outcome.text


def test_a_rule_to_force_or_to_stop_at_is_checked_too(repository):
    for option in ("--forcerun", "--until"):
        outcome = repository.snakemake("--dry-run", "all", option, "plot_lejeune2024_fg2")
        assert outcome.status != 0
        assert "near it: plot_lejeune2024_fig2" in outcome.text


def test_every_target_says_what_it_makes(repository):
    outcome = repository.snakemake("--list-rules")
    assert outcome.status == 0, outcome.text
    rules = dict(re.findall(r"^(\w+)(?: \((.+)\))?$", outcome.text, re.M))
    assert {"all", "compute_run", "collect_lejeune2024_fig2", "audit_lejeune2024_c1"} <= set(rules)
    assert [name for name, words in rules.items() if not words] == []
    assert rules["plot_lejeune2024_fig2"].startswith(f"{FIGURE}: Penalties on adaptive factors")


def test_a_paper_is_a_target(repository):
    jobs = repository.planned("joint", "--config", "scale=smoke")
    kinds = {name.split("_")[0] for name in jobs}
    assert kinds == {"joint", "prepare", "write", "compute", "collect", "plot", "audit"}
    figures = ("both", "r1", "r2", "r3", "r4", "r5")
    assert {name for name in jobs if name.startswith(("plot", "audit"))} == {
        f"{kind}_joint_{figure}" for kind in ("plot", "audit") for figure in figures
    }


LOGGED = ("--logger", "feature-alignment", "--config", "scale=smoke")


def test_the_logger_tells_how_far_a_run_is(repository):
    outcome = repository.snakemake("audit_lejeune2024_fig2", *LOGGED)
    assert outcome.status == 0, outcome.text
    assert "train: 1 of 1" in outcome.text
    assert "4 jobs done" in outcome.text
    assert "can be judged" not in outcome.text  # its claims are true by algebra
    assert "rule " not in outcome.text


def test_the_logger_ends_with_the_logs_of_what_failed(repository):
    source = "src/feature_alignment/papers/lejeune2024/penalties.py"
    line, failing = "    grid = np.linspace(", '    raise ValueError("a made-up failure")\n'
    repository.edit(source, line, failing + line)
    outcome = repository.snakemake("plot_lejeune2024_fig2", *LOGGED)
    repository.edit(source, failing + line, line)
    assert outcome.status != 0
    told = outcome.text[outcome.text.index("failed: compute_run") :]
    assert "results/smoke/logs/compute_run/lejeune2024.penalties.0.log, last lines:" in told
    assert "a made-up failure" in told
