"""Pack the code and the published results of a scale as a Workflow Run RO-Crate.

python -m feature_alignment.publish.crate --repository . --scale laptop --out crate.zip

A research object crate is an archive whose file ``ro-crate-metadata.json`` describes what is in it,
for repositories of research data and for programs.

References:
    Leo et al. (2024), Recording provenance of workflow runs with RO-Crate, profile 0.5.
"""

import argparse
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rocrate.model import ContextEntity, Entity
from rocrate.rocrate import ROCrate

from feature_alignment import command
from feature_alignment.audit.ledger import read_ledger, tallies
from feature_alignment.evidence import read_evidence
from feature_alignment.run.spec import SCALES, figure_titles
from feature_alignment.schema import read_yaml
from feature_alignment.storage import replacing, sha256

CODE = (
    "CITATION.cff",
    "LICENSE",
    "README.md",
    "constraints.txt",
    "environment.yml",
    "pyproject.toml",
    "config/*",
    "data/*",
    "docs/**/*",
    "papers/*/*",
    "src/**/*",
    "workflow/**/*",
)
"""What makes the results, next to the Snakefile."""
MADE = ("__pycache__", ".egg-info", "data/raw", "data/prepared")
"""What is made of the code, and is not part of it."""
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Pack a scale's published results; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repository", type=Path, default=Path(), help="the repository")
    parser.add_argument("--scale", choices=SCALES, default="laptop", help="scale of the results")
    parser.add_argument("--out", type=Path, required=True, help="archive to write (ZIP)")
    arguments = parser.parse_args(argv)
    packed = crate(arguments.repository, arguments.scale)
    with replacing(arguments.out) as temporary:
        temporary.write_bytes(b"".join(packed.stream_zip()))


def crate(repository: Path, scale: str) -> ROCrate:
    """Return a crate of the code and of what is published at a scale.

    Args:
        repository: The repository, with what is published under ``reference/<scale>``.
        scale: A scale.

    Raises:
        ValueError: If nothing is published at this scale, or a table is not what its provenance
            says.
    """
    published = repository / "reference" / scale
    if not (published / "ledger.json").is_file():
        there = [known for known in SCALES if (published.parent / known / "ledger.json").is_file()]
        raise ValueError(
            f"expected a scale with a published ledger: {', '.join(there) or 'there is none'}; got"
            f" {scale}; publish it first: snakemake publish --config scale={scale}"
        )
    packed = ROCrate(version="1.1")  # which the profiles are written for
    workflow = packed.add_workflow(
        repository / "Snakefile",
        "Snakefile",
        main=True,
        lang="snakemake",
        properties={"name": "from raw datasets to figures and a ledger of claims"},
    )
    ledger = read_ledger(published / "ledger.json")
    _describe(packed, repository, f"Results at scale {scale}: {'; '.join(tallies(ledger))}.")
    files = {
        path.relative_to(repository).as_posix(): path
        for path in [*_files(repository, CODE), *_files(published, ("*", "[pt]*/**/*"))]
    }
    entities = {
        name: packed.add_file(path, name, record_size=True, properties={"sha256": sha256(path)})
        for name, path in files.items()
    }
    if (published / "runs").is_dir():
        name = (published / "runs").relative_to(repository).as_posix()
        about = "the archived runs behind the tables, one file per run and seed"
        packed.add_dataset(published / "runs", f"{name}/", properties={"name": about})
    _add_runs(packed, workflow, entities, repository, published)
    return packed


def _files(folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            if path.is_file() and not any(part in path.as_posix() for part in MADE):
                yield path


def _describe(packed: ROCrate, repository: Path, results: str) -> None:
    """Say whose crate it is, what it is about, and which profiles it follows."""
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = read_yaml(repository / "CITATION.cff")
    root = packed.root_dataset
    root["name"] = f"{citation['title']} {project['version']}"
    root["description"] = f"{project['description']}. {results}"
    root["version"] = project["version"]
    root["license"] = _add(
        packed,
        f"https://spdx.org/licenses/{project['license']}",
        {"@type": "CreativeWork", "name": project["license"]},
    )
    root["author"] = _add(
        packed, "#authors", {"@type": "Organization", "name": citation["authors"][0]["name"]}
    )
    root["citation"] = [_add(packed, *_article(article)) for article in citation["references"]]
    profiles = [
        _add(packed, address, {"@type": "CreativeWork", "name": name, "version": "0.5"})
        for address, name in PROFILES.items()
    ]
    root["conformsTo"] = [*profiles, *(root.get("conformsTo") or [])]


def _article(article: Mapping) -> tuple[str, dict]:
    [identifier] = (each["value"] for each in article["identifiers"])
    authors = [f"{author['given-names']} {author['family-names']}" for author in article["authors"]]
    return f"https://arxiv.org/abs/{identifier.removeprefix('arXiv:')}", {
        "@type": "ScholarlyArticle",
        "name": article["title"],
        "author": authors,
        "datePublished": str(article["year"]),
    }


def _add_runs(
    packed: ROCrate,
    workflow: Entity,
    entities: Mapping[str, Entity],
    repository: Path,
    published: Path,
) -> None:
    """Say what made each table, of which data, and what made the ledger of them."""
    titles = figure_titles(sorted(repository.glob("papers/*/paper.yaml")))
    folder = published.relative_to(repository).as_posix()
    actions, tables = [], []
    for table in sorted(published.glob("tables/*/*.csv")):
        paper, figure = table.parent.name, table.stem
        _, meta = read_evidence(table, figure=f"{paper}/{figure}")
        made = [
            f"{folder}/tables/{paper}/{figure}.{ending}" for ending in ("csv", "meta.json", "npz")
        ]
        made += [f"{folder}/{copies}/{paper}/{figure}.png" for copies in ("pictures", "thumbnails")]
        tables.append(entities[made[0]])
        commits = sorted({str(each["git"]["commit"]) for each in (meta, *meta.get("runs", ()))})
        packages = ", ".join(f"{name} {version}" for name, version in meta["packages"].items())
        actions.append(
            packed.add_action(
                workflow,
                f"#{paper}/{figure}",
                object=[
                    entities[f"papers/{paper}/paper.yaml"],
                    *(_data(packed, name, found) for name, found in meta["datasets"].items()),
                ],
                result=[entities[name] for name in made if name in entities],
                properties={
                    "name": titles[paper][figure],
                    "description": f"Commits {', '.join(commits)}; Python {meta['python']} on"
                    f" {meta['platform']}; {packages}.",
                },
            )
        )
    judged = [f"{folder}/ledger.{ending}" for ending in ("json", "html")]
    actions.append(
        packed.add_action(
            workflow,
            "#ledger",
            object=tables,
            result=[entities[name] for name in judged if name in entities],
            properties={"name": "Every claim of the papers, judged by these tables"},
        )
    )
    packed.root_dataset["mentions"] = actions


def _data(packed: ROCrate, name: str, found: Mapping) -> Entity:
    """Return what identifies a dataset, which is not in the crate: its name and checksum."""
    return _add(
        packed,
        f"#{name}-{found['sha256'][:12]}",
        {"@type": "PropertyValue", "name": name, "value": f"SHA-256 {found['sha256']}"},
    )


def _add(packed: ROCrate, identifier: str, properties: Mapping) -> Entity:
    return packed.add(ContextEntity(packed, identifier, properties=dict(properties)))


if __name__ == "__main__":
    command.run(main)
