"""The archive of a published run, as a program or a reader of one finds it."""

import json
import zipfile

import pytest
from rocrate.rocrate import ROCrate

from conftest import ROOT
from feature_alignment.publish import crate
from feature_alignment.storage import read_json, sha256

SCALE = "laptop"
TABLES = {
    path.relative_to(ROOT).as_posix(): path
    for path in ROOT.glob(f"reference/{SCALE}/tables/*/*.csv")
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("crate") / "crate.zip"
    crate.main(["--repository", str(ROOT), "--scale", SCALE, "--out", str(path)])
    return path


@pytest.fixture(scope="module")
def read(written):
    return ROCrate(written)


def test_everything_that_is_described_is_there_with_its_checksum(written, read):
    with zipfile.ZipFile(written) as archive:
        names = set(archive.namelist())
    described = [entity for entity in read.data_entities if "File" in entity.type]
    assert {"Snakefile", "pyproject.toml", f"reference/{SCALE}/ledger.json", *TABLES} <= names
    assert {entity.id for entity in described} <= names
    for entity in described:
        if entity.id in TABLES:
            assert entity["sha256"] == sha256(TABLES[entity.id])
    runs = f"reference/{SCALE}/runs/"
    archived = {path for path in (ROOT / runs).rglob("*") if path.is_file()}
    assert len([name for name in names if name.startswith(runs)]) >= len(archived) > 0


def test_nothing_that_is_made_of_the_code_is_packed(written):
    with zipfile.ZipFile(written) as archive:
        names = archive.namelist()
    assert [name for name in names if any(part in name for part in crate.MADE)] == []


def test_it_follows_the_profile_of_workflow_runs(read):
    root = read.root_dataset
    assert {entity.id for entity in root["conformsTo"]} == set(crate.PROFILES)
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow"} == set(read.mainEntity.type)
    assert read.mainEntity["programmingLanguage"]["name"] == "Snakemake"
    for key in ("name", "description", "license", "datePublished", "version"):
        assert root[key], key
    assert len(root["citation"]) == 4


def test_every_table_tells_what_made_it_and_of_which_data(read):
    actions = {action.id: action for action in read.root_dataset["mentions"]}
    ledger = actions.pop("#ledger")
    assert {table.id for table in ledger["object"]} == set(TABLES)
    assert len(actions) == len(TABLES)
    for action in actions.values():
        assert action["instrument"] == read.mainEntity
        [table] = [entity.id for entity in action["result"] if entity.id.endswith(".csv")]
        meta = read_json(TABLES[table].with_suffix(".meta.json"))
        assert meta["git"]["commit"] in action["description"]
        told = {entity["value"] for entity in action["object"] if entity.type == "PropertyValue"}
        assert told == {f"SHA-256 {found['sha256']}" for found in meta["datasets"].values()}


def test_a_scale_that_is_not_published_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"published ledger: there is none; got paper; publish it"):
        crate.crate(tmp_path, "paper")


def test_the_description_is_plain_json(written):
    with zipfile.ZipFile(written) as archive:
        text = archive.read("ro-crate-metadata.json").decode()
    assert str(ROOT) not in text
    assert json.loads(text)["@context"] == "https://w3id.org/ro/crate/1.1/context"
