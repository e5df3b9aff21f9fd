"""What one job hands to the next is read whole and unchanged, or not at all."""

import contextlib
import multiprocessing
import os
import re
import shutil
import signal
import subprocess

import handoffs
import pytest
import torch
from handoffs import STEPS, files

from feature_alignment.storage import sha256


@pytest.fixture(scope="module", autouse=True)
def _restored_torch():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with everything from the spec to the page."""
    folder = tmp_path_factory.mktemp("whole")
    for step in STEPS.values():
        step(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of it."""
    return shutil.copytree(whole, tmp_path / "copy")


TABLE = f"tables/{handoffs.PAPER}/{handoffs.FIGURE}"
READERS = {
    "spec.json": [STEPS["compute_run"], STEPS["collect"]],
    "training.json": [STEPS["train"]],
    "data.json": [STEPS["train"]],
    "data.safetensors": [STEPS["train"]],
    "runs/0.csv": [STEPS["collect"]],
    "runs/0.meta.json": [STEPS["collect"], STEPS["keep_arrays"]],
    "runs/0.npz": [STEPS["keep_arrays"]],
    f"{TABLE}.csv": [STEPS["plot"], STEPS["judge_claims"]],
    f"{TABLE}.meta.json": [STEPS["plot"], STEPS["judge_claims"]],
    f"{TABLE}.npz": [STEPS["plot"]],
    "ledger.json": [STEPS["write_ledger_page"]],
    "ledger.meta.json": [STEPS["write_ledger_page"]],
}
RULES = {
    "data.safetensors": "prepare_dataset",
    "runs/0.csv": "compute_run",
    "runs/0.npz": "compute_run",
    f"{TABLE}.csv": "collect_baratin2021_fig1",
    f"{TABLE}.npz": "keep_arrays",
    "ledger.json": "judge_claims",
}


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def cut_at_a_line(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))


def one_digit(path):
    """Change a digit to another, so that text stays well formed."""
    content = bytearray(path.read_bytes())
    # not the last one of many, without which a number is often the same
    digits = [*re.finditer(rb"\d(?=\d{3})", content)] or [*re.finditer(rb"\d", content)]
    content[digits[-1].start()] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", [cut, cut_at_a_line, one_digit, empty])
def test_a_changed_file_is_refused_wherever_it_is_read(folder, name, damage):
    expected = sha256(folder / name)
    before = (folder / name).read_bytes()
    damage(folder / name)
    if (folder / name).read_bytes() == before:
        pytest.fail("the damage changes nothing")
    for reader in READERS[name]:
        with pytest.raises(ValueError, match=re.escape(name)) as raised:
            reader(folder)
        assert "run snakemake again" in str(raised.value)
        if name in RULES:
            assert f"rule {RULES[name]} " in str(raised.value)
            assert f"sha256 {expected}, found {sha256(folder / name)}" in str(raised.value)


def test_every_step_hands_on_what_a_reader_checks(whole):
    last = {
        "ledger.csv",
        "ledger.html",
        *(f"runs/training.{e}" for e in ("csv", "npz", "meta.json")),
    }
    written = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    figures = {name for name in written if name.endswith((".pdf", ".png"))}
    assert written - figures - last == set(READERS)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, and functions that fill it and make space again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk to fill needs root; limits on files are tested anyway")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk):
    with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


FIRST_WRITTEN = {
    "prepare_dataset": "data.safetensors",
    "train": "checkpoints/training",
    "collect": f"{TABLE}.csv",
    "plot": f"{handoffs.PAPER}/{handoffs.FIGURE}.pdf",
    "judge_claims": "ledger.json",
}


def test_a_disk_that_fills_at_five_places_costs_nothing(whole, small_disk):
    folder = small_disk / "results"
    folder.mkdir()
    for name, step in STEPS.items():
        if name in FIRST_WRITTEN:
            before = files(folder)
            (folder / FIRST_WRITTEN[name]).parent.mkdir(parents=True, exist_ok=True)
            fill(small_disk)
            with pytest.raises(OSError, match="No space left on device; make space") as raised:
                step(folder)
            assert f"cannot write {folder / FIRST_WRITTEN[name]}: " in str(raised.value)
            assert files(folder) == before
            assert not list(folder.rglob(".*"))
            (small_disk / "ballast").unlink()
        step(folder)
    assert files(folder) == files(whole)


KILLS = [
    *(("training", 1 + kill % 4) for kill in range(16)),
    *((name, 1) for name in ("training.npz", "training.csv", "training.meta.json")),
    ("training.npz", 1),
]


def test_twenty_kills_in_the_middle_of_writes_cost_no_byte(whole, tmp_path):
    for name in ("training.json", "data.json", "data.safetensors"):
        shutil.copy(whole / name, tmp_path)
    given = files(tmp_path)
    fork = multiprocessing.get_context("forkserver")
    loaded = ("papers.lou2022.hierarchy", "run.collecting", "plots.draw", "publish.page")
    fork.set_forkserver_preload([f"feature_alignment.{module}" for module in loaded])
    for file, times in KILLS:
        arguments = tmp_path, file, times
        process = fork.Process(target=handoffs.train_until_killed, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert list(tmp_path.rglob(f".{file}.*.tmp/new"))
    STEPS["train"](tmp_path)
    results = {f"runs/training.{ending}" for ending in ("csv", "npz")}
    expected = {name: content for name, content in files(whole).items() if name in results}
    assert files(tmp_path) == given | expected
    assert not list(tmp_path.rglob(".*"))
