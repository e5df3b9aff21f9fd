"""What one job hands to another: tables, metadata, arrays, datasets, checkpoints, command lines."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
from damages import (
    CONTENT,
    NO_FILE,
    STRANGE,
    Damage,
    damage_bytes,
    damage_csv,
    damage_json,
    damage_tree,
)
from harness import Area
from stage import (
    ARRAYS,
    MADE,
    MEASURED,
    META,
    OUT,
    PROGRAMS,
    REPOSITORY,
    TABLE_MADE,
    command,
    from_stage,
    program,
    written,
)

from feature_alignment.run import perform
from feature_alignment.training.losses import LOSSES

HERE, REAL = "here", "in a process"
READERS = ("judge", "draw", "captions", "compare", "collect", "costs", "page", "draw arrays")
READERS += ("perform",)


def run_program(damage: Damage) -> dict[str, str]:
    """Run the program whose arguments the damage has, or all of them to know their results."""
    if not damage.arguments:
        return {name: program(name.split()[0], *command(name)) for name in READERS}
    way, name, *arguments = damage.arguments
    if way == HERE:
        return {name: program(name.split()[0], *arguments)}
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    module = PROGRAMS[name.split()[0]].__name__
    path = {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=os.environ | path,
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(done.returncode)
    return {name: written()}


def read_by(rng: Random, path: Path, done: Damage, *readers: str) -> Damage:
    """Return the damage of a file for one of the programs that read it."""
    reader = rng.choice(readers)
    names = (*done.names, path.name, f"{path.parent.name}/{path.stem}")
    return Damage(f"{reader}: {done.what}", names, arguments=(HERE, reader, *command(reader)))


def damage_table(rng: Random) -> Damage:
    path, readers = rng.choice(
        [(MADE, READERS[:4]), (MADE, READERS[:4]), (MEASURED[1], ("collect",))]
    )
    done = damage_bytes(rng, path) if rng.random() < 0.3 else damage_csv(rng, path)
    return read_by(rng, path, done, *readers)


def damage_metadata(rng: Random) -> Damage:
    measured = MEASURED[1].with_suffix(".meta.json")
    read = {
        META: ("draw", "captions", "costs"),
        measured: ("collect",),
        Path("ledger.json"): ("captions", "page"),
    }
    path = rng.choice(list(read))
    if rng.random() < 0.25:
        done = damage_bytes(rng, path, "zeros", "cut", "empty", "not utf-8", *NO_FILE)
    else:
        own_names = ("datasets", "packages")
        done = damage_json(
            rng,
            path,
            wrong=wrong_kind,
            keys=lambda place: len(place) > 1 and place[-2] not in own_names,
            needed=lambda place: len(place) > 1,
        )
    return read_by(rng, path, done, *read[path])


def wrong_kind(path: tuple, value: object) -> list:
    """Return what no metadata or ledger may hold: another type, no finite number."""
    if path == ("top",):
        return [[], {}, None, 5, "text"]
    if isinstance(value, (bool, str)) or value is None:
        return [[[1]], {"a": 1}]
    if isinstance(value, (int, float)):
        return [math.nan, math.inf, "text", [], {}]
    return ["text", 5, None]


def damage_arrays(rng: Random) -> Damage:
    kinds = ("left out", "renamed", "shape", "nan", "inf", "text", "objects")
    kind = rng.choice(["bytes", "bytes", *kinds])
    if kind == "bytes":
        return read_by(rng, ARRAYS, damage_bytes(rng, ARRAYS), "draw arrays")
    with np.load(ARRAYS) as file:
        arrays = dict(file)
    name = rng.choice(sorted(arrays))
    array = arrays.pop(name)
    if kind == "renamed":
        arrays[name + "x"] = array
    elif kind != "left out":
        spoilt = {"shape": array[..., :-1], "text": array.astype(str)}
        spoilt["objects"] = array.astype(object)
        arrays[name] = spoilt.get(kind, np.full_like(array, np.nan if kind == "nan" else np.inf))
    np.savez(ARRAYS, **arrays)
    return read_by(rng, ARRAYS, Damage(f"{kind} {name}", (name,)), "draw arrays")


def damage_prepared(rng: Random) -> Damage:
    arrays, manifest = Path("prepared/digits.safetensors"), Path("prepared/digits.json")
    if rng.random() < 0.4:
        path, kinds = rng.choice([(arrays, (*CONTENT, *NO_FILE)), (manifest, NO_FILE)])
        return read_by(rng, path, damage_bytes(rng, path, *kinds), "perform")
    done = damage_json(rng, manifest, wrong=wrong_fact, needed=lambda place: len(place) > 1)
    done = Damage(done.what, (*done.names, "its manifest"))
    return read_by(rng, manifest, done, "perform")


def wrong_fact(path: tuple, value: object) -> list:
    """Return what no manifest may say."""
    if path[-1] in ("origin", "note", "licence", "citation"):
        return [[], {}, 5]
    if isinstance(value, (int, float)):
        return [*wrong_kind(path, value), -1, 0.5 if isinstance(value, int) else 2.0**70]
    return [*wrong_kind(path, value), "", *STRANGE[:2]]


# Checkpoints: a training is killed, its checkpoint damaged, and the training resumed.


TRAINING = {
    "dataset": {"name": "digits", "n_train": 60, "n_test": 20, "label_noise": 0.0},
    "model": {
        "architecture": "fully_connected",
        "hidden_layers": 2,
        "width": 8,
        "bias": True,
        "activation": "relu",
        "initialisation": "pytorch",
    },
    "loss": "centered_mse",
    "learning_rate": 0.5,
    "momentum": 0.9,
    "batch_size": 20,
    "epochs": 3,
    "measure": {"kernel_examples": 8, "covariance_examples": 8, "every": 1},
}
CHECKPOINT = Path("checkpoint.safetensors")


def train() -> str:
    shutil.rmtree(OUT, ignore_errors=True)
    digits = ("--data=prepared/digits.safetensors", "--manifest=prepared/digits.json")
    place = ("--out=out/0.csv", f"--checkpoint={CHECKPOINT}", "--checkpoint-interval=0")
    perform.main(["--spec=training.json", "--seed=0", *digits, *place])
    return written()


def lay_out_checkpoint(stage: Path) -> None:
    from_stage("prepared")(stage)
    identity = {"paper": "joint", "run": "tiny", "scale": "smoke"}
    spec = {**identity, "experiment": "both_instruments", "settings": TRAINING}
    Path("training.json").write_text(json.dumps(spec))


def interrupt(steps: int) -> None:
    """Train until the given step, as if killed there."""

    class Killed(BaseException):
        pass

    loss, left = LOSSES["centered_mse"], [steps]

    def killing(outputs: object, labels: object) -> object:
        left[0] -= outputs.requires_grad
        if not left[0]:
            raise Killed
        return loss(outputs, labels)

    LOSSES["centered_mse"] = killing
    try:
        train()
    except Killed:
        LOSSES["centered_mse"] = loss


def damage_checkpoint(rng: Random) -> Damage:
    interrupt(rng.randrange(2, 9))
    if rng.random() < 0.5:
        return damage_bytes(rng, CHECKPOINT)
    content = CHECKPOINT.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    key = rng.choice(sorted(header["__metadata__"]))
    try:
        tree = {key: json.loads(header["__metadata__"][key])}
        done = damage_tree(rng, tree, wrong_or_other, needed=lambda p: len(p) > 1)
        header["__metadata__"] = {name: json.dumps(part) for name, part in tree.items()}
    except (ValueError, IndexError):
        header["__metadata__"][key] = "damaged"
        done = Damage(f"{key}: damaged", ())
    packed = json.dumps(header).encode()
    CHECKPOINT.write_bytes(len(packed).to_bytes(8, "little") + packed + content[8 + size :])
    return Damage(f"{CHECKPOINT}: {done.what}", (CHECKPOINT.name,))


def wrong_or_other(path: tuple, value: object) -> list:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return [*wrong_kind(path, value), *([value + 1, -5, 2**40] if number else [])]


# Command lines: options left out, misspelt, added, or with values that cannot be.

BAD_VALUES = ("", "-1", "nan", "no such thing", "x" * 300, ".", "/proc/1/no/x")


def damage_command(rng: Random) -> Damage:
    name = rng.choice(READERS)
    arguments = command(name)
    free = ("--figure", "--benchmarks") if name in ("collect", "costs") else ()
    options = [i for i, part in enumerate(arguments) if part.startswith("--")]
    at = rng.choice([i for i in options if not arguments[i].startswith(free or "-no")])
    option, _, value = arguments[at].partition("=")
    kind = rng.choice(["left out", "slip", "value", "value", "value", "more"])
    told, bad = [option.strip("-"), Path(value or option).name, TABLE_MADE], ""
    if kind == "left out":
        del arguments[at]
    elif kind == "slip":
        arguments[at] = f"{option}x={value}"
    elif kind == "more":
        arguments.append(rng.choice(["--nonsense", "word", "--scale=nonsense", "--seed=x"]))
        told += [arguments[-1].partition("=")[0].strip("-"), "unrecognized"]
    else:
        bad = rng.choice(BAD_VALUES[4 if value.startswith("out") else 0 :])  # else a name as good
        arguments[at] = f"{option}={bad}" if value else bad
        told += [bad[:100], bad.rpartition("/")[0]] if bad else ["''", "'.'", ".: expected"]
    way = REAL if rng.random() < 0.1 else HERE
    what = f"{name}, {way}: {kind} {option} {bad!r}"
    return Damage(what, tuple(told), arguments=(way, name, *arguments))


STAGE = from_stage()
AREAS = {
    "tables": Area(STAGE, damage_table, run_program, 60),
    "metadata": Area(STAGE, damage_metadata, run_program, 60),
    "arrays": Area(STAGE, damage_arrays, run_program, 60),
    "prepared": Area(STAGE, damage_prepared, run_program, 60),
    "checkpoints": Area(lay_out_checkpoint, damage_checkpoint, lambda damage: train()),
    "command lines": Area(STAGE, damage_command, run_program, 60),
}
