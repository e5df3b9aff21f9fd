"""Mistakes in the configuration that end a dry run, in a copy in which nothing was computed."""

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
