"""A training that is killed and started again."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from conftest import ROOT
from feature_alignment.data import prepare
from feature_alignment.run.spec import Paper

PAPER = ROOT / "papers" / "beaglehole2024" / "paper.yaml"


@pytest.fixture
def training(tmp_path):
    """Return a function that starts one training of some seconds, writing to a named table."""
    spec = Paper.read(PAPER, ROOT / "workflow" / "schemas").resolve("mlp_mnist", "smoke")
    spec["settings"]["epochs"] = 150
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    data = tmp_path / "digits.safetensors", tmp_path / "digits.json"
    prepare.main(
        ["--dataset", "digits", "--registry", str(ROOT / "data/datasets.csv")]
        + ["--raw", str(tmp_path), "--out", str(data[0]), "--manifest", str(data[1])]
    )

    def start(*names, seeds=(0,), stderr=subprocess.PIPE):
        return subprocess.Popen(
            [sys.executable, "-m", "feature_alignment.run.perform"]
            + ["--spec", str(tmp_path / "spec.json"), "--seed", *map(str, seeds)]
            + ["--data", str(data[0]), "--manifest", str(data[1])]
            + ["--out", *(str(tmp_path / f"{name}.csv") for name in names)]
            + ["--checkpoint", *(str(tmp_path / f"state/{name}.checkpoint") for name in names)]
            + ["--checkpoint-interval", "0.2"],
            stderr=stderr,
            text=True,
        )

    return start


def kill_when_there_is(process, file):
    deadline = time.monotonic() + 60
    while not file.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_kill_minus_nine_costs_no_byte(training, tmp_path):
    for _ in range(2):
        kill_when_there_is(training("killed"), tmp_path / "state/killed.checkpoint")
    assert not (tmp_path / "killed.csv").exists()
    resumed = training("killed")
    log = resumed.communicate()[1]
    assert resumed.returncode == 0, log
    assert "resuming from step" in log
    assert not (tmp_path / "state/killed.checkpoint").exists()

    whole = training("whole")
    assert "resuming" not in whole.communicate()[1]
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_kill_minus_nine_in_a_group_costs_no_finished_seed(training, tmp_path):
    kill_when_there_is(training("0", "1", seeds=(0, 1)), tmp_path / "state/1.checkpoint")
    assert not list(tmp_path.glob("?.csv"))
    resumed = training("0", "1", seeds=(0, 1))
    log = resumed.communicate()[1]
    assert resumed.returncode == 0, log
    assert "seed 0 was finished before" in log
    assert log.count("resuming from step") == 1
    assert not list((tmp_path / "state").iterdir())

    alone = training("alone", seeds=(1,))
    log = alone.communicate()[1]
    assert alone.returncode == 0, log
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


def test_a_checkpoint_of_another_seed_is_not_used(training, tmp_path):
    kill_when_there_is(training("run"), tmp_path / "state/run.checkpoint")
    log = training("run", seeds=(1,)).communicate()[1]
    assert "ignoring" in log
    assert "belongs to another spec, code or dataset" in log


def test_a_terminal_shows_a_bar_and_a_log_does_not(training):
    log = training("plain").communicate()[1]
    assert "epoch 1, step" in log
    assert "step/s" not in log

    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = training("shown", stderr=other_end)
    os.close(other_end)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
        while piece := os.read(terminal, 4096):
            shown += piece
    assert process.wait() == 0
    assert b"step/s" in shown
    assert b"epoch 1, step" in shown
