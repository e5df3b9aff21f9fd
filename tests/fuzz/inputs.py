"""What people write and download: configuration, experiments, claims, datasets."""

import csv
import hashlib
import io
import math
import shutil
import sys
from pathlib import Path
from random import Random

import numpy as np
import raw_files
import yaml
from damages import (
    LONG,
    NO_FILE,
    STRANGE,
    TABLE,
    WRONG,
    Damage,
    damage_bytes,
    damage_csv,
    damage_tree,
    damage_zip,
)
from harness import Area
from PIL import Image
from stage import (
    PAPERS,
    PROGRAMS,
    REGISTRY,
    REPOSITORY,
    SCHEMAS,
    command,
    from_stage,
    observed,
    program,
)

from feature_alignment.audit.claims import read_claims
from feature_alignment.run.spec import SCALES, read_papers

# Configuration: the workflow is planned, in a copy of the repository.


def lay_out_repository(stage: Path) -> None:
    names = ("Snakefile", "workflow", "config", "profiles", "papers", "src", str(REGISTRY))
    for name in names:
        target = Path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        source = REPOSITORY / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    path = Path("config/config.yaml")
    path.write_text(path.read_text().replace("scale: laptop", "scale: smoke"))
    shutil.copy(REPOSITORY / "environment.yml", "environment.yml")
    Path("reference/laptop/tables").mkdir(parents=True)


SETTINGS = {
    "scale": [*WRONG, *STRANGE, "Smoke", ["smoke"]],
    "seeds": [*(value for value in WRONG if value is not None), 0, 10**6, "3 seeds", LONG],
    "data_dir": [*(value for value in WRONG if value is not None), "/nonexistent", "Snakefile"],
    "results": [*WRONG, "/", "/proc", "src", "src/feature_alignment", "data", "papers", "."]
    + ["reference/laptop", "reference/laptop/tables", "{wildcard}", "<results>", "Snakefile", ".."],
}


def damage_configuration(rng: Random) -> Damage:
    path = Path("config/config.yaml")
    if rng.random() < 0.1:
        done = damage_bytes(rng, path, "zeros", "not utf-8", "empty", "directory", "loop")
        return Damage(done.what, (path.name, 'Snakefile", line'), True)  # where it is named
    key = rng.choice(list(SETTINGS))
    value = rng.choice(SETTINGS[key])
    told = f"{key}: {value!r}"[:80]
    if rng.random() < 0.5 and value not in (None, "", [], {}, LONG):  # Snakemake leaves these out
        return Damage(f"--config {told}", (key,), True, ("--config", f"{key}={value}"))
    tree = yaml.safe_load(path.read_text())
    kind = rng.choice(["set", "set", "set", "slip", "leave out", "twice"])
    text = yaml.safe_dump({**tree, key: value})
    if kind == "slip":
        text = yaml.safe_dump({k + "x" * (k == key): v for k, v in tree.items()})
    elif kind == "leave out":
        text = yaml.safe_dump({k: v for k, v in tree.items() if k != key})
    elif kind == "twice":
        text = yaml.safe_dump(tree) + f"{key}: {tree[key] or 'null'}\n"
    path.write_text(text, encoding="utf-8")
    return Damage(f"{path}: {kind} {told}", (key, path.name), True)


def plan(damage: Damage) -> str:
    """Plan the whole workflow and return which jobs it would run."""
    from snakemake.cli import main

    said = io.StringIO()
    errors, sys.stderr = sys.stderr, said
    try:
        main(["all", "--cores=1", "--dry-run", "--quiet", "rules", *damage.arguments])
    except SystemExit as stop:
        if stop.code:
            raise
    finally:
        errors.write(said.getvalue())
        sys.stderr = errors
    return ""


# Experiments and claims: YAML trees.


def wrong_setting(path: tuple, value: object) -> list:
    """Return what may not stand at a place of a paper's file."""
    last, names = path[-1], {str(key) for key in path}
    if "published" in names or "labels" in names:
        return [math.nan, math.inf] if isinstance(value, (int, float)) else []
    if "sweep" in names and any(name.startswith("{") for name in names):
        return []  # names that go into those of runs
    if last in ("title", "caption"):
        return [None, 5, [], {}, math.nan]
    if last in ("draws", "note"):
        return [[], {}, math.nan]
    if isinstance(value, bool):
        return [None, 1, "yes", [], {}, math.nan]
    if isinstance(value, (int, float)):
        return [math.nan, math.inf, -math.inf, -1, "text", "", [], {}, [[1]], True, LONG]
    if isinstance(value, str):
        return [*STRANGE, "", 5, [], {}, math.nan, True]
    return ["text", 5, math.nan, True]


OWN_NAMES = ("families", "runs", "figures", "labels", "columns", "published", "sweep", "each")


def damage_experiment(rng: Random) -> Damage:
    paper = rng.choice(sorted(path.name for path in PAPERS.iterdir()))
    path = PAPERS / paper / "paper.yaml"
    if rng.random() < 0.25:
        return damage_bytes(rng, path, "zeros", "empty", "not utf-8", *NO_FILE)
    if rng.random() < 0.2:
        lines = path.read_text().splitlines(keepends=True)
        at = rng.choice(
            [i for i, line in enumerate(lines) if line.rstrip().endswith(("5", "true"))]
        )
        lines.insert(at, lines[at])
        path.write_text("".join(lines))
        return Damage(f"{path}: line {at + 1} twice: {lines[at].strip()}", (path.name,), True)
    tree = yaml.safe_load(path.read_text())
    done = damage_tree(
        rng,
        tree,
        wrong_setting,
        keys=lambda p: not (len(p) > 1 and p[-2] in OWN_NAMES) and "published" not in p,
        needed=lambda p: len(p) == 1 or (p[0] == "figures" and p[-1] in ("title", "runs")),
    )
    path.write_text(yaml.safe_dump(tree, allow_unicode=True))
    return Damage(f"{path}: {done.what}", (path.name, *done.names))


def observe_experiments(damage: Damage) -> object:
    papers = read_papers(PAPERS, SCHEMAS)
    specs = [p.resolve(r, s) for p in papers.values() for s in SCALES for r in p.runs_at(s)]
    return specs, [paper.figures for paper in papers.values()]


WHERE = ("", " ", "1", "(", "width", "no_column == 1", "value ==", "@pd", "x" * 5000, 5, [], True)
RUNS_CODE = (
    "@pd.io.common.os.system('touch ../ran') == 0",
    "value.to_csv('../ran') == 0",
    "__import__('os').system('touch ../ran') == 0",
    "().__class__.__base__.__subclasses__()",
)


def wrong_claim(path: tuple, value: object) -> list:
    last = path[-1]
    if "where" in path:
        return [*WHERE, *RUNS_CODE]
    if last in ("statement", "note", "place"):
        return [5, [], {}, True]
    if "each" in path:
        return [[], {}, 5, "text"] if isinstance(value, list) else []
    if isinstance(value, (int, float)):
        return [math.nan, math.inf, "text", [], {}, "", LONG]
    if isinstance(value, str):
        return [*STRANGE, "", None, 5, [], {}, math.nan]
    return ["text", 5, None]


def damage_claim(rng: Random) -> Damage:
    path = PAPERS / "lou2022" / "claims.yaml"
    if rng.random() < 0.1:
        return damage_bytes(rng, path, "zeros", "empty", "not utf-8", *NO_FILE)
    tree = yaml.safe_load(path.read_text())
    names = [claim["id"].split("{")[0] for claim in tree]
    if rng.random() < 0.1:
        tree.append(rng.choice(tree))
        done = Damage("a claim twice", ())
    else:
        words = ("id", "statement", "source", "kind", "evidence", "test", "needs", "criterion")
        done = damage_tree(rng, tree, wrong_claim, needed=lambda p: p[-1] in words)
    path.write_text(yaml.safe_dump(tree, allow_unicode=True))
    return Damage(f"{path}: {done.what}", (path.name, *names, *done.names))


def observe_claims(damage: Damage) -> object:
    files = sorted(PAPERS.glob("*/claims.yaml"))
    return read_claims(files, SCHEMAS / "claims.schema.yaml"), program("judge", *command("judge"))


# Registry, raw files and archives: a dataset is prepared from tiny files.


def pictures(rng: np.random.Generator, count: int, shape: tuple, classes: int) -> tuple:
    labels = np.arange(count) % classes
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), labels


def lay_out_raw(stage: Path) -> None:
    draw_ = np.random.default_rng(0)
    train, test = (pictures(draw_, count, (1, 28, 28), 10) for count in (40, 20))
    files = raw_files.mnist("MNIST", train, test)
    raw_files.write(Path("raw"), files)
    raw_files.write(Path("raw"), raw_files.gz(files))
    facts = {"shape": (1, 28, 28), "train": 40, "test": 20}
    editions = {"compressed": raw_files.gz(files), "unpacked": files}
    dataset = raw_files.dataset_of("mnist", "MNIST", **facts, **editions)
    REGISTRY.parent.mkdir()
    raw_files.write_registry(REGISTRY, dataset)


REGISTRY_WRONG = {
    "name": ["", "mnist2", LONG],
    "source": ["", "Unknown", "MNIST ", "os", "FakeData"],
    "classes": ["", "nan", "-1", "0", "9", "11", "1e1", "ten", str(2**70), "²"],
    "edition": ["other"],
    "file": ["", "/etc/passwd", "../raw", "MNIST", LONG, "a\0b"],
    "sha256": ["", "0" * 64, "f" * 63, "A" * 64, "text"],
    "bytes": ["", "nan", "-1", "1", "1e3", str(2**70), "²"],
    "url": ["", "no address", "file:///etc/passwd", LONG],
}


def damage_registry(rng: Random) -> Damage:
    path = REGISTRY
    kind = rng.random()
    if kind < 0.3:
        return damage_csv(rng, path, *(k for k in TABLE if k != "fewer rows"), "long")
    if kind < 0.4:
        return damage_bytes(rng, path, "zeros", "empty", "not utf-8", *NO_FILE)
    [head, *rows] = csv.reader(io.StringIO(path.read_text()))
    column = rng.choice(list(REGISTRY_WRONG))
    value = rng.choice(REGISTRY_WRONG[column])
    at = rng.randrange(len(rows))
    for row in rows if rng.random() < 0.5 else [rows[at]]:
        row[head.index(column)] = value
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    path.write_text(text.getvalue())
    named = (path.name, column, "mnist")
    return Damage(f"{path}: {column} of row {at} or all: {value!r}"[:120], named)


def damage_raw(rng: Random) -> Damage:
    path = rng.choice(sorted(path for path in Path("raw").rglob("*") if path.is_file()))
    done = damage_bytes(rng, path)
    if rng.random() < 0.3 and path.is_file():  # somebody else's file, with its own checksum
        head, *rows = csv.reader(io.StringIO(REGISTRY.read_text()))
        keep = done.what.split(":")[1].split()[0] in ("cut", "empty", "append")
        for row in rows if keep else []:
            if row[head.index("file")] == path.relative_to("raw").as_posix():
                row[head.index("sha256")] = hashlib.sha256(path.read_bytes()).hexdigest()
                row[head.index("bytes")] = str(path.stat().st_size)
                done = Damage(f"{done.what}, registered so", done.names + ("mnist",))
        with REGISTRY.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *rows])
    return Damage(done.what, (*done.names, "MNIST/raw"))


def picture(width: int, height: int, mode: str) -> bytes:
    noise = np.random.default_rng([width, height]).integers(0, 256, (height, width, 4))
    image = Image.fromarray(noise.astype(np.uint8), "RGBA")
    image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def lay_out_archive(stage: Path) -> None:
    train, test = (pictures(np.random.default_rng(n), n, (3, 32, 32), 10) for n in (50, 20))
    facts = {"shape": (3, 32, 32), "train": 50, "test": 20}
    files = raw_files.cifar10(train, test)
    dataset = raw_files.dataset_of("cifar10", "CIFAR10", **facts, python=files)
    REGISTRY.parent.mkdir()
    raw_files.write_registry(REGISTRY, dataset)
    entries = {
        f"cifar10/{split}/{label}/{number:04d}.png": raw_files.png(image)
        for split, part in (("train", train), ("test", test))
        for number, (image, label) in enumerate(zip(*part, strict=True))
    }
    Path("raw").mkdir()
    Path("raw/cifar10.zip").write_bytes(raw_files.zipped(entries))


def damage_archive(rng: Random) -> Damage:
    return damage_zip(rng, Path("raw/cifar10.zip"), picture)


def observe_archive(damage: Damage) -> object:
    given = [part.replace("=mnist", "=cifar10") for part in command("prepare")]
    PROGRAMS["prepare"].main([*given[:4], "--out=a.safetensors", "--manifest=a.meta.json"])
    return hashlib.sha256(Path("a.safetensors").read_bytes()).hexdigest()


AREAS = {
    "configuration": Area(lay_out_repository, damage_configuration, plan, 60),
    "experiments": Area(
        from_stage("papers", "workflow", "data"), damage_experiment, observe_experiments
    ),
    "claims": Area(
        from_stage("papers", "workflow", "data", "tables"), damage_claim, observe_claims
    ),
    "registry": Area(lay_out_raw, damage_registry, observed("prepare")),
    "raw files": Area(lay_out_raw, damage_raw, observed("prepare")),
    "archives": Area(lay_out_archive, damage_archive, observe_archive),
}
