"""Undamaged files to start from, made by the project's own programs, and those that read them."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import yaml
from damages import Damage, copied

from feature_alignment.audit import ledger
from feature_alignment.data import prepare
from feature_alignment.plots import draw
from feature_alignment.publish import captions, compare, costs, page
from feature_alignment.run import collecting, perform
from feature_alignment.run.spec import read_papers

REPOSITORY = Path(__file__).resolve().parents[2]
PAPERS, SCHEMAS = Path("papers"), Path("workflow/schemas")
REGISTRY = Path("data/datasets.csv")
PROGRAMS = {
    "prepare": prepare,
    "perform": perform,
    "collect": collecting,
    "judge": ledger,
    "draw": draw,
    "captions": captions,
    "costs": costs,
    "compare": compare,
    "page": page,
}
TABLE_MADE, RUN = "lou2022/e2_information", "lou2022/initialisation_depth30"
ARRAYS_MADE, ARRAYS_RUN = "lejeune2024/fig1_kernel_alignment", "lejeune2024/students"
SEEDS = 2
MADE = Path("tables") / f"{TABLE_MADE}.csv"
META = MADE.with_suffix(".meta.json")
ARRAYS = Path("tables") / f"{ARRAYS_MADE}.npz"
MEASURED = [Path("runs") / RUN / f"{seed}.csv" for seed in range(SEEDS)]
OUT = Path("out")


def program(name: str, *arguments: str) -> str:
    """Run one of the project's programs in this process and return what it wrote, as a checksum."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    PROGRAMS[name].main(arguments)
    return written()


def written() -> str:
    """Return a checksum of what lies in the folder of results but for accounts of the run."""
    checksum = hashlib.sha256()
    for path in sorted(OUT.rglob("*")):
        if path.is_file() and not path.name.endswith(".meta.json"):
            checksum.update(f"{path.name}\0".encode() + path.read_bytes())
    return checksum.hexdigest()


def command(name: str) -> list[str]:
    """Return the arguments of a program that reads the stage."""
    tables, papers = f"--tables={MADE}", (f"--papers={PAPERS}", f"--schemas={SCHEMAS}")
    specs = [f"--specs=specs/{RUN}.json", "--measurements", *map(str, MEASURED)]
    path = Path(f"specs/{TABLE_MADE}.record.json")
    record = path.read_text(encoding="utf-8") if path.exists() else ""
    claims = (f"--claims={PAPERS}/lou2022/claims.yaml", f"--schema={SCHEMAS}/claims.schema.yaml")
    raw = ("--dataset=mnist", f"--registry={REGISTRY}", "--data-dir=raw", "--raw=downloads")
    digits = ("--data=prepared/digits.safetensors", "--manifest=prepared/digits.json")
    drawn = ("--pdf=out/f.pdf", "--png=out/f.png")
    return {
        "prepare": [*raw, "--out=out/a.safetensors", "--manifest=out/a.meta.json"],
        "perform": [f"--spec=specs/{RUN}.json", "--seed=0", *digits]
        + ["--out=out/0.csv", "--checkpoint=out/checkpoint", "--threads=1"],
        "collect": [
            "--figure=e2_information",
            f"--record={record}",
            *specs,
            f"--out=out/{MADE.name}",
        ],
        "judge": [*claims, tables, "--scale=smoke", "--json=out/l.json", "--csv=out/l.csv"],
        "draw": [f"--figure={TABLE_MADE}", f"--table={MADE}", *drawn],
        "draw arrays": [f"--figure={ARRAYS_MADE}", f"--table={ARRAYS.with_suffix('.csv')}"]
        + [f"--arrays={ARRAYS}", *drawn],
        "captions": ["--ledger=ledger.json", tables, *papers, "--scale=smoke", "--out=out"],
        "costs": [tables, "--benchmarks=benchmarks", "--out=out/c.tsv", "--jobs=out/j.tsv"],
        "compare": [f"--fresh={MADE}", "--published=published", "--csv=out/c.csv"]
        + ["--page=out/c.md"],
        "page": ["--ledger=ledger.json", f"--papers={PAPERS}/lou2022/paper.yaml"]
        + ["--figures=figures/lou2022/e2_information.png", "--out=out/ledger.html"],
    }[name]


def observed(name: str) -> Callable[[Damage], object]:
    """Return what runs a program on the stage."""
    return lambda damage: program(name.split()[0], *(damage.arguments or command(name)))


def make_stage(stage: Path) -> None:
    """Make the files that areas start from, by the programs of the project, in ``stage``."""
    stage.mkdir()
    os.chdir(stage)
    for path in (REPOSITORY / "papers").glob("*/*.yaml"):
        target = PAPERS / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copytree(REPOSITORY / SCHEMAS, SCHEMAS)
    REGISTRY.parent.mkdir()
    shutil.copy(REPOSITORY / REGISTRY, REGISTRY)
    digits = Path("prepared") / "digits"
    place = [f"--out={digits}.safetensors", f"--manifest={digits}.json"]
    prepare.main(["--dataset=digits", f"--registry={REGISTRY}", "--raw=downloads", *place])
    keep_some_claims()
    papers = read_papers(PAPERS, SCHEMAS)
    for run, table in ((RUN, TABLE_MADE), (ARRAYS_RUN, ARRAYS_MADE)):
        paper, name = run.split("/")
        spec = Path("specs") / f"{run}.json"
        spec.parent.mkdir(parents=True)
        spec.write_text(json.dumps(papers[paper].resolve(name, "smoke")))
        given = [f"--data={digits}.safetensors", f"--manifest={digits}.json", "--checkpoint=c"]
        measured = [f"runs/{run}/{seed}.csv" for seed in range(SEEDS)]
        for seed, out in enumerate(measured):
            perform.main([f"--spec={spec}", f"--seed={seed}", f"--out={out}", *given])
        figure = table.split("/")[1]
        record = json.dumps({"columns": papers[paper].figures[figure]["columns"]})
        Path(f"specs/{table}.record.json").write_text(record, encoding="utf-8")
        made = [f"--figure={figure}", f"--record={record}", f"--specs={spec}"]
        collecting.main([*made, f"--out=tables/{table}.csv", "--measurements", *measured])
    shutil.copy(f"runs/{ARRAYS_RUN}/0.npz", ARRAYS)
    copied(Path("tables"), Path("published"))
    for name in ("judge", "draw"):
        program(name, *command(name))
        for made, kept in (("l.json", "ledger.json"), ("f.png", f"figures/{TABLE_MADE}.png")):
            if (OUT / made).exists():
                Path(kept).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(OUT / made, kept)
    Path("benchmarks").mkdir()
    Path("benchmarks/job.tsv").write_text(
        "s\th:m:s\tmax_rss\tcpu_time\n1.5\t0:00:01\t100.0\t1.2\n", encoding="utf-8"
    )


def keep_some_claims() -> None:
    """Keep the claims on the stage's table alone."""
    path = PAPERS / "lou2022" / "claims.yaml"
    claims = yaml.safe_load(path.read_text())
    kept = [claim for claim in claims if claim["evidence"]["table"] == TABLE_MADE]
    path.write_text(yaml.safe_dump(kept, allow_unicode=True))


def from_stage(*names: str) -> Callable[[Path], None]:
    """Return what copies files and folders of the stage to the working directory."""

    def lay_out(stage: Path) -> None:
        for name in names or [path.name for path in stage.iterdir()]:
            source = stage / name
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            copied(source, Path(name)) if source.is_dir() else shutil.copy(source, name)

    return lay_out
