"""A short run on real data, where it is at hand."""

import os
from pathlib import Path

import pandas as pd
import pytest
from repository import Repository

from conftest import ROOT

DATA = Path(os.environ.get("FEATURE_ALIGNMENT_DATA") or "nowhere").resolve()

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.real_data,
    pytest.mark.skipif(
        not (DATA / "MNIST").is_dir(),
        reason="FEATURE_ALIGNMENT_DATA does not point at a folder with MNIST",
    ),
]

TOLERANCE = 0.05


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return Repository.copy(tmp_path_factory.mktemp("real") / "copy")


def test_the_ansatz_on_mnist_agrees_with_an_independent_implementation(repository):
    """The mean over three seeds lies in the range of four seeds measured by other code.

    The range is widened by 0.05: seeds differ, and the other code drew other subsets.
    """
    runs = [f"results/laptop/runs/beaglehole2024/mlp_mnist/{seed}.csv" for seed in range(3)]
    outcome = repository.snakemake(*runs, FEATURE_ALIGNMENT_DATA=str(DATA))
    assert outcome.status == 0, outcome.text
    found = pd.concat([pd.read_csv(repository.path / run) for run in runs])
    found["epoch"] -= 1
    means = found.groupby(["measure", "epoch", "layer"])["value"].mean()
    expected = pd.read_csv(ROOT / "tests" / "reference" / "mnist_ansatz.csv")
    assert len(expected) == 20
    for row in expected.itertuples():
        mean = means[row.measure, row.epoch, row.layer]
        assert row.low - TOLERANCE <= mean <= row.high + TOLERANCE, row


def test_one_corrupt_byte_stops_everything(repository, tmp_path):
    source = DATA / "MNIST" / "raw"
    broken = tmp_path / "MNIST" / "raw"
    broken.mkdir(parents=True)
    for file in source.iterdir():
        broken.joinpath(file.name).write_bytes(file.read_bytes())
    labels = broken / "train-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[1000] ^= 1
    labels.write_bytes(content)
    target = "data/prepared/mnist.safetensors"
    outcome = repository.snakemake(target, "--forceall", FEATURE_ALIGNMENT_DATA=str(tmp_path))
    assert outcome.status != 0
    assert f"wrong checksum of {labels}: expected sha256 65a50cbb" in outcome.text
    assert "found " in outcome.text
    assert not (repository.path / target).exists()
