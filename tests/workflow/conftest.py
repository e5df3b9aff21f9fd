"""The whole workflow is run once at scale smoke, and shared by every test and every process."""

import shutil

import pytest
from filelock import FileLock
from repository import SMOKE, Repository


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """A copy in which everything has been made; it is only read."""
    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "smoke"
    with FileLock(f"{shared}.lock"):
        done = shared / "results" / "made.txt"
        if not done.exists():
            shutil.rmtree(shared, ignore_errors=True)
            outcome = Repository.copy(shared).snakemake(*SMOKE)
            assert outcome.status == 0, outcome.text
            done.write_text(outcome.text)
    return Repository(shared)


@pytest.fixture(scope="session")
def finished(made_once, tmp_path_factory):
    """A copy of this process in which everything has been made."""
    return made_once.twin(tmp_path_factory.mktemp("finished") / "copy")


@pytest.fixture
def edited(finished):
    """The finished copy, whose edited files are put back after the test."""
    kept = {}
    for pattern in ("src/**/*.py", "papers/*/*.yaml", "data/*.csv"):
        kept |= finished.files(pattern)
    yield finished
    for path, content in kept.items():
        if (finished.path / path).read_bytes() != content:
            (finished.path / path).write_bytes(content)
