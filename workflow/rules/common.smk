import json
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))

from feature_alignment.audit.claims import read_claims
from feature_alignment.data.registry import BUNDLED, read_registry
from feature_alignment.provenance import code_hash
from feature_alignment.run.spec import SCALES, read_all_experiments, read_yaml, validate

SCHEMAS = ROOT / "workflow" / "schemas"

try:
    read_yaml(ROOT / "config" / "config.yaml")  # finds keys given twice
    validate(config, read_yaml(SCHEMAS / "config.schema.yaml"), "configuration")
    DATASETS = read_registry(ROOT / "data" / "datasets.csv")
    EXPERIMENTS = read_all_experiments(Path("config/experiments"), SCHEMAS)
    SPECS = {
        (paper, run): experiments.resolve(run, config["scale"])
        for paper, experiments in EXPERIMENTS.items()
        for run in experiments.runs_at(config["scale"])
    }
    TITLES = read_yaml(ROOT / "config" / "figures.yaml")
    CLAIMS_FILES = [f"claims/{paper}.yaml" for paper in EXPERIMENTS]
    CLAIMS = read_claims(map(Path, CLAIMS_FILES), SCHEMAS / "claims.schema.yaml")
except (ValueError, OSError) as error:
    raise WorkflowError(str(error)) from None

REDRAWS = Path(config["results"]).resolve() == Path("reference").resolve()
RESULTS = f"{'results/reference' if REDRAWS else config['results']}/{config['scale']}"

WITH_IMAGES = {
    "baratin2021": ("fig1_eigenfunctions", "a1_half_disk"),
    "beaglehole2024": ("b7_speed_limits",),
    "lejeune2024": ("fig1_kernel_alignment", "fig3_kernel_diagonal"),
}

shell.prefix(f"set -euo pipefail; export PYTHONPATH={str(ROOT / 'src')!r}; ")


wildcard_constraints:
    dataset="|".join([*DATASETS, *BUNDLED]),
    paper="|".join(EXPERIMENTS),
    run="|".join(sorted({run for _, run in SPECS})),
    seed="[0-9]+",


def every_figure():
    """Every figure with its paper."""
    return [(paper, figure) for paper in EXPERIMENTS for figure in EXPERIMENTS[paper].figures]


def figure_files(figures):
    """The files of figures."""
    return [f"<figures>/{p}/{f}.{ending}" for p, f in figures for ending in ("pdf", "png")]


def captions_of(figures):
    """The captions of figures in the report."""
    return [f"<results>/captions/{p}.{f}.rst" for p, f in figures]


def caption_of(paper, figure):
    """A figure's caption as written after an audit; before one, what the figure shows."""
    written = Path(f"{RESULTS}/captions/{paper}.{figure}.rst").resolve()
    return str(written) if written.is_file() else f"../report/{paper}.{figure}.rst"


def labels_of(paper, figure):
    """What the report's list of figures says of one."""
    return {"figure": figure, "shows": TITLES.get(paper, {}).get(figure, "")}


def rule_name(paper, figure):
    """What the rules of a figure are named after: beaglehole2024_b1 for b1_nfa_emergence."""
    return f"{paper}_{figure.split('_')[0]}"


def official_files(wildcards):
    """What identifies the official files of a dataset; a stand-in has none."""
    dataset = DATASETS.get(wildcards.dataset)
    return str((dataset.source, dataset.editions)) if dataset else ""


def spec_of_run(wildcards):
    """The resolved spec of a run, unless nothing is to be trained."""
    refuse_published(f"training {wildcards.paper}/{wildcards.run}")
    return json.dumps(SPECS[wildcards.paper, wildcards.run], indent=2)


def run_module(wildcards):
    """The module that computes a run."""
    return EXPERIMENTS[wildcards.paper].experiment(wildcards.run)


def prepared_datasets(wildcards):
    """The array files of the datasets that a run reads; synthetic tasks read none."""
    settings = SPECS[wildcards.paper, wildcards.run]["settings"]
    read = [settings[part]["name"] for part in ("dataset", "difficult") if part in settings]
    return [f"data/prepared/{name}.safetensors" for name in dict.fromkeys(read)]


def dataset_manifests(wildcards):
    """The manifests beside the array files."""
    return [path.replace(".safetensors", ".json") for path in prepared_datasets(wildcards)]


def specs_of(paper, figure):
    """The specs of the runs that feed a figure."""
    runs = EXPERIMENTS[paper].runs_of(figure, config["scale"])
    return [f"<results>/specs/{paper}/{run}.json" for run in runs]


def measurements_of(paper, figure):
    """The measurements of every run and seed that feed a figure."""
    return [
        f"<results>/runs/{paper}/{run}/{seed}.csv"
        for run in EXPERIMENTS[paper].runs_of(figure, config["scale"])
        for seed in range(config["seeds"] or EXPERIMENTS[paper].seeds(run, config["scale"]))
    ]


def first_images(paper, figure):
    """The images that the first seed of a figure's first run left beside its measurements."""
    return measurements_of(paper, figure)[0].replace(".csv", ".npz")


def runs_with_images():
    """The runs that leave images beside their measurements."""
    pairs = [(paper, figure) for paper in WITH_IMAGES for figure in WITH_IMAGES[paper]]
    return sorted({Path(first_images(*pair)).parent.name for pair in pairs})


def images_of(paper, figure):
    """What a figure shows beside its table, if anything."""
    path = f"<tables>/{paper}/{figure}.npz"
    return [path] if shows_images(path) else []


def shows_images(path):
    """Whether the figure of a table shows images too."""
    return Path(path).stem in WITH_IMAGES.get(Path(path).parent.name, ())


def published(pattern):
    """A file for every figure in the folder of published results."""
    return [f"<published>/{pattern.format(paper=p, figure=f)}" for p, f in every_figure()]
