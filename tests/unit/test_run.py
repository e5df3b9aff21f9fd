"""What every run shares: settings, draws, tables, checkpoints and the command line."""

import platform
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_runs import (
    MLP,
    arguments_of,
    changed,
    complete,
    make_run,
    perform_run,
    random_dataset,
    values,
)

from feature_alignment.run import perform
from feature_alignment.run.context import Run
from feature_alignment.run.settings import Settings
from feature_alignment.storage import write_json
from feature_alignment.tables import read_meta, read_table
from feature_alignment.training.readings import DivergenceError, Measurement, Reading, taken

DISK = {
    "variant": "disk",
    "n_train": 10,
    "model": MLP,
    "learning_rate": 0.2,
    "measure": {"grid": 20, "steps": [0, 3]},
}
EASY_DIFFICULT = {
    "dataset": {"name": "plain", "n_train": 8, "n_test": 5, "label_noise": 0.0},
    "difficult": {"name": "plain", "n_train": 4, "label_noise": 1.0},
    "model": MLP,
    "loss": "cross_entropy",
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.05,
    "batch_size": 10,
    "epochs": 1,
    "measure": {"kernel_examples": 4, "ratio": 2.0},
}


@pytest.fixture
def dataset(tmp_path):
    return random_dataset(tmp_path, "plain", (1, 4, 4), n_train=12, n_test=5, classes=3)


@pytest.fixture
def run(tmp_path):
    """A run whose settings are nobody's business."""
    return make_run("difficulty", {}, tmp_path)


def written(run):
    return sorted(path.name for path in run.out.parent.iterdir())


@pytest.mark.usefixtures("restored_torch")
def test_the_program_gives_what_the_experiment_measures(tmp_path, dataset):
    for experiment, settings, data in (
        ("eigenfunctions", DISK, []),
        ("difficulty", EASY_DIFFICULT, [dataset]),
    ):
        here, there = (
            make_run(experiment, settings, tmp_path / experiment / name, *data) for name in "ab"
        )
        assert perform_run(there) == complete(here)
        assert written(here) == written(there) == ["0.csv", "0.meta.json", "0.npz"]
        arrays = [run.out.with_suffix(".npz") for run in (here, there)]
        assert arrays[0].read_bytes() == arrays[1].read_bytes()
        with np.load(arrays[0], allow_pickle=False) as kept:
            assert bool(kept.files) == (experiment == "eigenfunctions")
    meta = read_meta(there.out)
    assert meta["module"] == "feature_alignment.papers.baratin2021.difficulty"
    assert meta["spec"] == there.spec
    assert meta["datasets"]["plain"]["sha256"] == dataset.manifest["sha256"]
    told = {key: meta[key] for key in ("seed", "device", "dtype", "threads")}
    assert told == {"seed": 0, "device": "cpu", "dtype": "float32", "threads": 1}


@pytest.mark.usefixtures("restored_torch")
def test_an_experiment_says_what_it_computes_in(tmp_path):
    spec = make_run("supernat", {}, tmp_path).spec
    assert parsed(tmp_path, spec).dtype == "float64"


def parsed(folder, spec, *arguments) -> Run:
    write_json(folder / "spec.json", spec)
    places = [f"--{name}={folder / name}" for name in ("out", "checkpoint")]
    [run] = perform.parse([f"--spec={folder / 'spec.json'}", "--seed=3", *places, *arguments])
    return run


@pytest.mark.parametrize(
    "change, arguments, message",
    [
        ({}, ["--device=gpu"], "unknown device 'gpu'"),
        ({}, ["--device=cuda:1"], "device cuda:1 asked for, but torch sees no GPU; use --device"),
        ({}, ["--data", "a", "b"], "expected one --manifest for each --data, got 0 for 2"),
        ({"experiment": "difficult"}, [], "names the experiment 'difficult' of 'baratin2021'"),
        ({"experiment": "plots.disks"}, [], "names the experiment 'plots.disks'"),
        ({"experiment": None}, [], "names the experiment 'None'"),
        ({"paper": "nobody1999"}, [], "of 'nobody1999'; expected a module in src/.*/papers/"),
    ],
)
def test_arguments_that_make_no_sense_are_errors(
    monkeypatch, run, tmp_path, change, arguments, message
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        parsed(tmp_path, run.spec | change, *arguments)


PRECISION = """
import sys, torch
from feature_alignment.run.perform import parse
torch.backends.cudnn.conv.fp32_precision = "tf32"
parse(sys.argv[1:])
print(torch.backends.cudnn.conv.fp32_precision, torch.get_float32_matmul_precision())
print(torch.get_deterministic_debug_mode(), torch.get_num_threads())
"""


def test_a_gpu_computes_in_full_single_precision_and_deterministically(tmp_path, run):
    spec = tmp_path / "spec.json"
    write_json(spec, run.spec)
    places = ["--spec", spec, "--out", tmp_path / "out.csv", "--checkpoint", tmp_path / "state"]
    command = [sys.executable, "-c", PRECISION, "--seed", "0", *map(str, places)]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert words == ["ieee", "highest", "2", "1"]


@pytest.mark.parametrize("manifest", [[], "text", {"name": "plain", "sha256": "a"}])
def test_a_manifest_of_something_else_is_an_error_that_names_it(tmp_path, dataset, manifest):
    spec = make_run("difficulty", EASY_DIFFICULT, tmp_path).spec
    write_json(tmp_path / "spec.json", spec)
    write_json(tmp_path / "other.json", manifest)
    arguments = [f"--spec={tmp_path / 'spec.json'}", "--seed=0", f"--out={tmp_path / 'out.csv'}"]
    arguments += [f"--checkpoint={tmp_path / 'c.safetensors'}", f"--data={dataset.arrays}"]
    with pytest.raises(ValueError, match=r"other\.json is no manifest .*it has no 'n"):
        perform.parse([*arguments, f"--manifest={tmp_path / 'other.json'}"])


def test_settings_know_what_was_read():
    settings = Settings({"a": 1, "part": {"b": 2, "c": [3], "inner": {"d": None}}, "e": {}})
    assert len(settings) == 3
    assert "part" in settings
    assert list(settings) == ["a", "part", "e"]
    assert settings.unread() == ["a", "part", "e"]
    assert settings.get("f", 9) == 9
    assert settings.get("a") == settings["a"] == 1
    assert settings.unread() == ["part", "e"]
    assert settings["part"]["c"] == [3]
    assert settings.unread() == ["part.b", "part.inner", "e"]
    assert settings["part"]["inner"]["d"] is None
    assert {**settings["part"]}["b"] == 2
    assert settings.unread() == ["e"]
    with pytest.raises(KeyError):
        settings["part"]["e"]


def test_a_setting_that_nothing_reads_is_an_error_that_names_it(tmp_path, dataset):
    settings = changed(EASY_DIFFICULT, measure__every=3, difficult__inner={"a": 1}, seeds=2)
    run = make_run("difficulty", settings, tmp_path, dataset)
    message = "baratin2021/tiny does not read its settings difficult.inner, measure.every, seeds;"
    with pytest.raises(ValueError, match=message):
        complete(run)
    assert not run.out.parent.exists()


def test_readings_keep_their_coordinates_in_the_table(run):
    found = taken([Reading("ratio", 0.5, split="test", at=k) for k in (1, 40)])
    found += taken([Reading("norm", 2.0, "conv1")], 7, 1.5)
    found.append(Measurement(None, None, "bound", 3.0))
    run.complete(lambda _: found)
    assert values(run) == {
        (0, "ratio", "test", None, 1): 0.5,
        (0, "ratio", "test", None, 40): 0.5,
        (7, "norm", None, "conv1"): 2.0,
        (None, "bound", None, None): 3.0,
    }
    table = read_table(run.out)
    assert table["epoch"].fillna(-1).tolist() == [0, 0, 1.5, -1]
    assert set(zip(table["paper"], table["run"], table["seed"], strict=True)) == {
        ("baratin2021", "tiny", 0)
    }


def test_arrays_lie_beside_the_table_and_are_asked_for_at_the_end(run):
    done = []
    run.complete(lambda _: done.append(1) or [], lambda: {"steps": np.array(done)})
    with np.load(run.out.with_suffix(".npz"), allow_pickle=False) as arrays:
        assert dict(arrays) == {"steps": [1]}


def measured(value):
    return lambda checkpointing: taken([Reading("m", value)])


def diverging(checkpointing):
    raise DivergenceError("the loss became nan", taken([Reading("m", 9.0)]))


def test_parts_of_a_run_are_told_apart_by_their_conditions(run):
    given = {}

    def keeping(values):
        def measure(checkpointing):
            given[values] = checkpointing
            checkpointing.path.parent.mkdir(exist_ok=True)
            checkpointing.path.write_text("finished")
            return taken([Reading("m", values[1])])

        return measure

    names = [("a", 1.0), ("a", 2.0), ("b", 1.0)]
    run.complete_parts(["kind", "size"], {values: keeping(values) for values in names})
    table = read_table(run.out, ["kind", "size"])
    assert list(zip(table["kind"], table["size"], strict=True)) == names
    assert table["value"].tolist() == [1.0, 2.0, 1.0]
    assert [given[values].path.name for values in names] == [
        f"0.{kind}.{size}.safetensors" for kind, size in names
    ]
    assert list(run.checkpoint.parent.iterdir()) == []


def test_a_part_that_diverges_leaves_what_came_before(run):
    parts = {("good",): measured(1.0), ("bad",): diverging, ("late",): measured(2.0)}
    message = r"baratin2021/tiny, seed 0, kind bad: the loss became nan. Measurements so far: .*csv"
    with pytest.raises(DivergenceError, match=message) as error:
        run.complete_parts(["kind"], parts)
    assert [entry.value for entry in error.value.measurements] == [9.0]
    kept = run.checkpoint.with_suffix(".partial.csv")
    assert read_table(kept, ["kind"])[["kind", "value"]].to_numpy().tolist() == [
        ["good", 1.0],
        ["bad", 9.0],
    ]
    assert not run.out.exists()
    run.complete_parts(["kind"], parts | {("bad",): measured(3.0)})
    assert list(run.checkpoint.parent.iterdir()) == []
    assert read_table(run.out)["value"].tolist() == [1.0, 3.0, 2.0]


def test_a_run_that_diverges_leaves_an_older_table_alone(run):
    run.complete(measured(1.0))
    before = run.out.read_bytes()
    with pytest.raises(DivergenceError):
        run.complete(diverging)
    assert run.out.read_bytes() == before


def test_a_checkpoint_is_bound_to_spec_seed_data_and_threads(tmp_path, dataset, run):
    others = [
        make_run("difficulty", {"epochs": 2}, tmp_path),
        make_run("difficulty", {}, tmp_path, seed=1),
        make_run("difficulty", {}, tmp_path, dataset),
        make_run("complexity", {}, tmp_path),
        replace(run, threads=2),
    ]
    prints = {one.checkpointing().fingerprint for one in (run, *others)}
    assert len(prints) == 6
    again = make_run("difficulty", {}, tmp_path / "elsewhere")
    assert again.checkpointing().fingerprint == run.checkpointing().fingerprint


def test_runs_of_one_name_for_draws_share_them(tmp_path):
    def draw(seed=0, purpose="init", **settings):
        run = make_run("difficulty", settings, tmp_path, seed=seed)
        run.spec["run"] = settings.get("name", "tiny")
        state = run.seed_sequence(purpose).generate_state(2).tolist()
        return torch.rand(3, generator=run.generator(purpose)).tolist() + state

    alone, other = draw(name="a"), draw(name="b")
    shared = [draw(name=name, draws="both") for name in "ab"]
    assert shared[0] == shared[1]
    different = [alone, other, shared[0], draw(name="a", seed=1), draw(purpose="order", name="a")]
    assert len(set(map(tuple, different))) == 5


WHOLE_RUN = """
import sys
from feature_alignment.run import perform
perform.main(sys.argv[1:])
heavy = ("torch._dynamo", "torch._inductor", "sympy", "torchvision", "sklearn", "matplotlib")
print([name for name in (*heavy, "scipy") if name in sys.modules])
"""


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("architecture", ["fully_connected", "vgg11"])
def test_a_whole_run_imports_neither_a_compiler_nor_what_it_has_no_use_for(
    tmp_path, architecture, optimizer
):
    images = random_dataset(tmp_path, "colour", (3, 32, 32), n_train=12, n_test=6, classes=3)
    vgg = {"architecture": architecture, "width": 2, "initialisation": "he_normal"}
    settings = {
        "dataset": {"name": "colour", "n_train": 12, "n_test": 6, "label_noise": 0.0},
        "input_offset": 0.0,
        "rounding": 0,
        "model": MLP if architecture == "fully_connected" else vgg,
        "loss": "cross_entropy",
        "optimizer": optimizer,
        "learning_rate": 0.01,
        "momentum": 0.9,
        "weight_decay": 0.01,
        "batch_size": 6,
        "epochs": 2,
        "augmentation": False,
        "stop": {"losses": [1e-9], "epochs": 2},
        "measure": {"kernel_examples": 4, "fit_examples": 6, "ratio": None},
    }
    run = make_run("hierarchy", settings, tmp_path, images, paper="lou2022")
    program = [sys.executable, "-c", WHOLE_RUN, *arguments_of(run)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


ALLOCATION = """
import resource, torch
from feature_alignment.run.allocation import keep_freed_memory
kept = keep_freed_memory()
for step in range(20):
    if step == 10:  # by when the heap has room for all
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_is_taken_again_without_the_operating_system():
    done = subprocess.run([sys.executable, "-c", ALLOCATION], capture_output=True, text=True)
    kept, faults = done.stdout.split()
    pages = 10 * 2**26 // resource.getpagesize()  # in ten tensors of 64 MiB
    assert kept == str(platform.libc_ver()[0] == "glibc"), done.stderr
    assert kept == "False" or int(faults) < pages / 100
