import shutil
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(Path(__file__).resolve().parent))

torch.set_num_threads(1)  # as jobs have it: more threads add in another order


def pytest_collection_modifyitems(items):
    """Begin with the longest tests, so that no core is idle at the end."""
    items.sort(key=lambda item: "workflow" not in item.keywords)


@pytest.fixture
def restored_torch():
    """Undo what a program does to torch for its whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """A copy in which the whole workflow has run at scale smoke, once for all tests; only read."""
    from repository import SMOKE, Repository  # on the path once tests/workflow is collected

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
