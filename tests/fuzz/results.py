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
    LONG,
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
    observed,
    program,
    written,
)

from feature_alignment.run import perform
from feature_alignment.training.losses import LOSSES

# What one job hands to another: the damage says which program reads it, in its arguments.


def handed(rng: Random, path: Path, done: Damage, *readers: str) -> Damage:
    return Damage(done.what, (*done.names, path.name), arguments=(rng.choice(readers),))


def read_handed(damage: Damage) -> object:
    """Run the program that the damage is for, or all of them to know the undamaged results."""
    return {name: program(name.split()[0], *command(name)) for name in damage.arguments or READ}


READ = ("judge", "draw", "captions", "compare", "collect", "costs", "page", "draw arrays")


def damage_table(rng: Random) -> Damage:
    path, readers = rng.choice([(MADE, READ[:4]), (MADE, READ[:4]), (MEASURED[1], READ[4:5])])
    done = damage_bytes(rng, path) if rng.random() < 0.3 else damage_csv(rng, path)
    return handed(rng, path, done, *readers)


def damage_metadata(rng: Random) -> Damage:
    path, readers = rng.choice(
        [
            (META, ("draw", "captions", "costs")),
            (MEASURED[1].with_suffix(".meta.json"), ("collect",)),
            (Path("ledger.json"), ("captions", "page")),
        ]
    )
    if rng.random() < 0.25:
        done = damage_bytes(rng, path, "zeros", "cut", "empty", "not utf-8", *NO_FILE)
    else:
        done = damage_json(
            rng,
            path,
            wrong=wrong_meta,
            keys=lambda p: len(p) > 1 and p[-2] not in ("datasets", "packages"),
            needed=lambda p: len(p) > 1,
        )
    return handed(rng, path, done, *readers)


def wrong_meta(path: tuple, value: object) -> list:
    """Return what no metadata or ledger may hold: another type, no finite number."""
    if path == ("top",):
        return [[], {}, None, 5, "text"]
    if isinstance(value, (bool, str)) or value is None:
        return [[[1]], {"a": 1}]
    if isinstance(value, (int, float)):
        return [math.nan, math.inf, "text", [], {}]
    return ["text", 5, None]


def damage_arrays(rng: Random) -> Damage:
    kind = rng.choice(
        ["bytes", "bytes", "left out", "renamed", "shape", "nan", "inf", "text", "objects"]
    )
    if kind == "bytes":
        return handed(rng, ARRAYS, damage_bytes(rng, ARRAYS), "draw arrays")
    with np.load(ARRAYS) as file:
        arrays = dict(file)
    name = rng.choice(sorted(arrays))
    array = arrays.pop(name)
    if kind == "renamed":
        arrays[name + "x"] = array
    elif kind != "left out":
        spoilt = {
            "shape": array[..., :-1],
            "text": array.astype(str),
            "objects": array.astype(object),
        }
        arrays[name] = spoilt.get(kind, np.full_like(array, np.nan if kind == "nan" else np.inf))
    np.savez(ARRAYS, **arrays)
    return handed(rng, ARRAYS, Damage(f"{ARRAYS}: {kind} {name}", (name,)), "draw arrays")


def damage_prepared(rng: Random) -> Damage:
    arrays, manifest = Path("prepared/digits.safetensors"), Path("prepared/digits.json")
    if rng.random() < 0.4:
        return damage_bytes(rng, rng.choice([arrays, arrays, manifest]), *(*CONTENT[1:], *NO_FILE))
    return damage_json(rng, manifest, wrong=wrong_manifest, needed=lambda p: len(p) > 1)


def wrong_manifest(path: tuple, value: object) -> list:
    if path[-1] in ("origin", "note", "licence", "citation"):
        return [[], {}, 5]
    if isinstance(value, (int, float)):
        return [*wrong_meta(path, value), -1, 0.5 if isinstance(value, int) else 2.0**70]
    return [*wrong_meta(path, value), "", *STRANGE[:2]]


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
        done = damage_tree(rng, tree, wrong_meta_or_number, needed=lambda p: len(p) > 1)
        header["__metadata__"] = {name: json.dumps(part) for name, part in tree.items()}
    except (ValueError, IndexError):
        header["__metadata__"][key] = "damaged"
        done = Damage(f"{key}: damaged", ())
    packed = json.dumps(header).encode()
    CHECKPOINT.write_bytes(len(packed).to_bytes(8, "little") + packed + content[8 + size :])
    return Damage(f"{CHECKPOINT}: {done.what}", (CHECKPOINT.name,))


def wrong_meta_or_number(path: tuple, value: object) -> list:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return [*wrong_meta(path, value), *([value + 1, -5, 2**40] if number else [])]


# Command lines: options left out, misspelt, doubled, or with values that cannot be.

BAD_VALUES = (
    "",
    "-1",
    "nan",
    "inf",
    "no such thing",
    ".",
    "/proc/1/no/x",
    "a/../../no",
    "a\0b",
    LONG,
)


def damage_command(rng: Random) -> Damage:
    name = rng.choice([name for name in READ if name != "prepare"] + ["perform"])
    arguments = command(name)
    at = rng.randrange(len(arguments))
    option, _, value = arguments[at].partition("=")
    kind = rng.choice(["left out", "slip", "value", "value", "value", "more"])
    told = (option.strip("-"), Path(value or option).name, TABLE_MADE)
    if kind == "left out":
        del arguments[at]
    elif kind == "slip":
        arguments[at] = f"{option}x={value}"
    elif kind == "more":
        arguments.append(rng.choice(["--nonsense", "word", "--scale=nonsense", "--seed=x"]))
        told = (arguments[-1].partition("=")[0].strip("-"), "unrecognized")
    else:
        bad = rng.choice(BAD_VALUES)
        arguments[at] = f"{option}={bad}" if value else bad
        told += (bad[:100], bad.rpartition("/")[0]) if bad else ("''", "'.'")
    real = ("real",) if rng.random() < 0.1 else ()
    return Damage(
        f"{name}: {kind} {arguments[at - (kind == 'left out')]}"[:150],
        told,
        arguments=(*real, name, *arguments),
    )


def run_command(damage: Damage) -> object:
    """Run one command line, in a process of its own where the damage asks for it."""
    if not damage.arguments:
        return {name: program(name.split()[0], *command(name)) for name in (*READ, "perform")}
    real, name, *arguments = (
        damage.arguments if damage.arguments[0] == "real" else ("", *damage.arguments)
    )
    if not real:
        return {name: program(name.split()[0], *arguments)}
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    module = PROGRAMS[name.split()[0]].__name__
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")},
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(done.returncode)
    return {name: written()}


EVERYTHING = from_stage()
AREAS = {
    "tables": Area(EVERYTHING, damage_table, read_handed, 60),
    "metadata": Area(EVERYTHING, damage_metadata, read_handed, 60),
    "arrays": Area(EVERYTHING, damage_arrays, read_handed, 60),
    "prepared": Area(from_stage("prepared", "specs"), damage_prepared, observed("perform")),
    "checkpoints": Area(lay_out_checkpoint, damage_checkpoint, lambda damage: train()),
    "command lines": Area(EVERYTHING, damage_command, run_command, 60),
}
