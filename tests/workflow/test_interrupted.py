"""A training that is killed and started again."""

import json
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT
from feature_alignment.data import prepare
from feature_alignment.spec import Experiments

EXPERIMENTS = ROOT / "config" / "experiments" / "beaglehole2024.yaml"


@pytest.fixture
def training(tmp_path):
    """Return a function that starts one training of some seconds, writing to a named table."""
    spec = Experiments.read(EXPERIMENTS, ROOT / "workflow" / "schemas").resolve(
        "mlp_mnist", "smoke"
    )
    spec["settings"]["epochs"] = 150
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    data = tmp_path / "digits.safetensors", tmp_path / "digits.json"
    prepare.main(
        ["--dataset", "digits", "--registry", str(ROOT / "data/datasets.csv")]
        + ["--raw", str(tmp_path), "--out", str(data[0]), "--manifest", str(data[1])]
    )

    def start(name, seed=0):
        return subprocess.Popen(
            [sys.executable, "-m", "feature_alignment.experiments.beaglehole2024.ansatz"]
            + ["--spec", str(tmp_path / "spec.json"), "--seed", str(seed)]
            + ["--data", str(data[0]), "--manifest", str(data[1])]
            + ["--out", str(tmp_path / f"{name}.csv"), "--checkpoint-interval", "0.2"]
            + ["--checkpoint", str(tmp_path / f"{name}.checkpoint")],
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def kill_after_checkpoint(process, checkpoint):
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_kill_minus_nine_costs_no_byte(training, tmp_path):
    for _ in range(2):
        kill_after_checkpoint(training("killed"), tmp_path / "killed.checkpoint")
    assert not (tmp_path / "killed.csv").exists()
    resumed = training("killed")
    log = resumed.communicate()[1]
    assert resumed.returncode == 0, log
    assert "resuming from step" in log
    assert not (tmp_path / "killed.checkpoint").exists()

    whole = training("whole")
    assert "resuming" not in whole.communicate()[1]
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_checkpoint_of_another_seed_is_not_used(training, tmp_path):
    kill_after_checkpoint(training("run"), tmp_path / "run.checkpoint")
    log = training("run", seed=1).communicate()[1]
    assert "ignoring" in log
    assert "belongs to another spec, code or dataset" in log
