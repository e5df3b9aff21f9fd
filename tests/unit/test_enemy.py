"""Archives, pickles and YAML of an enemy run nothing and write nothing outside their folder."""

import io
import json
import pickle
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import raw_files
from raw_files import dataset_of, png, write, zipped
from test_data_sources import find

from conftest import ROOT
from feature_alignment.data.readers import read, read_class_folders
from feature_alignment.plots.draw import read_arrays
from feature_alignment.publish.compare import compare
from feature_alignment.run.schema import read_yaml
from feature_alignment.run.spec import Paper

IMAGE = np.zeros((3, 8, 8), np.uint8)


class Runs:
    """What writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def links_and_ways_out(mark):
    """Yield members of a tar archive that lead out of the folder it is unpacked in."""
    for name in ("../ran", "a/../../ran", str(mark)):
        yield tarfile.TarInfo(name), b"x"
    for kind, target in ((tarfile.SYMTYPE, str(mark)), (tarfile.LNKTYPE, "../ran")):
        link = tarfile.TarInfo("stl10_binary/link")
        link.type, link.linkname = kind, target
        yield link, b""
    folder = tarfile.TarInfo("stl10_binary/folder")
    folder.type, folder.linkname = tarfile.SYMTYPE, str(mark.parent)
    yield folder, b""
    yield tarfile.TarInfo("stl10_binary/folder/ran"), b"x"
    for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        device = tarfile.TarInfo("../ran")
        device.type = kind
        yield device, b""


@pytest.mark.parametrize("number", range(10))
def test_a_tar_archive_writes_nothing_outside(tmp_path, number):
    mark = tmp_path / "ran"
    member, content = list(links_and_ways_out(mark))[number]
    member.size = len(content)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(member, io.BytesIO(content))
    files = {"stl10_binary.tar.gz": buffer.getvalue()}
    assert_nothing_is_written(tmp_path, "STL10", files)


@pytest.mark.parametrize("name", ["../ran", "a/../../ran", "/tmp/ran-by-an-enemy", "GTSRB/../ran"])
def test_a_zip_archive_writes_nothing_outside(tmp_path, name):
    packed = zipped({name: b"x", "GTSRB/Training/00000/1.ppm": b"x"})
    files = {f"gtsrb/GTSRB{part}.zip": packed for part in ("-Training_fixed", "_Final_Test_GT")}
    assert_nothing_is_written(tmp_path, "GTSRB", files)
    assert not Path("/tmp/ran-by-an-enemy").exists()


def assert_nothing_is_written(tmp_path, source, files):
    dataset = dataset_of("toy", source, official=files)
    located = find(dataset, write(tmp_path / "raw", files))
    before = sorted(tmp_path.rglob("*"))
    with suppress(tarfile.TarError, RuntimeError, OSError, ValueError):
        read(dataset, located, tmp_path / "scratch")
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "scratch"] == before


def test_class_folders_in_an_archive_are_read_where_they_are(tmp_path):
    names = ("../{}/a/1.png", "/{}/a/2.png", "x/../../../{}/a/3.png")
    entries = {name.format(split): png(IMAGE) for name in names for split in ("train", "test")}
    archive = write(tmp_path, {"toy.zip": zipped(entries)}) / "toy.zip"
    with suppress(ValueError):
        read_class_folders(archive)
    assert list(tmp_path.iterdir()) == [archive]


def test_a_pickle_in_place_of_official_files_is_not_loaded(tmp_path):
    mark = tmp_path / "ran"
    names = [*raw_files.cifar10(*[(np.zeros((10, 3, 32, 32), np.uint8), np.zeros(10, int))] * 2)]
    files = dict.fromkeys(names, pickle.dumps(Runs(mark)))
    dataset = dataset_of("toy", "CIFAR10", official=files)
    with pytest.raises((RuntimeError, ValueError)):
        read(dataset, find(dataset, write(tmp_path / "raw", files)), tmp_path / "scratch")
    assert not mark.exists()


def test_arrays_of_objects_are_not_loaded(tmp_path):
    mark = tmp_path / "ran"
    for name in ("fresh", "published"):
        path = tmp_path / name / "toy" / "fig1.npz"
        path.parent.mkdir(parents=True)
        np.savez(path, image=np.array([Runs(mark)], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_arrays(path, ["image"])
    found = compare([tmp_path / "fresh" / "toy" / "fig1.csv"], tmp_path / "published")
    assert found["problem"].str.contains("is not a file of named arrays").any()
    assert not mark.exists()


@pytest.mark.parametrize(
    "tag", ["object/apply:pathlib.Path.touch", "object/new:os.system", "name:os.system"]
)
def test_yaml_makes_no_objects(tmp_path, tag):
    path = tmp_path / "claims.yaml"
    path.write_text(f"- !!python/{tag} ['{tmp_path}/ran']\n")
    with pytest.raises(ValueError, match="is not valid YAML: could not determine a constructor"):
        read_yaml(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("experiment", ["../../command", "plots.disks", "os; x", "memorisation/x"])
def test_an_experiment_is_a_module_of_the_paper(tmp_path, experiment):
    room = tmp_path / "papers" / "baratin2021"
    room.mkdir(parents=True)
    family = {"experiment": experiment, "settings": {}}
    paper = {"families": {"f": family}, "runs": {"r": {"family": "f"}}, "figures": {}}
    (room / "paper.yaml").write_text(json.dumps(paper))
    (room / "settings.yaml").write_text(json.dumps({experiment: {}}))
    with pytest.raises(ValueError, match="families.f.experiment: .* does not match"):
        Paper.read(room / "paper.yaml", ROOT / "workflow" / "schemas")


@pytest.mark.parametrize("key", ["a-b", "A", "a b", "{x}", "a|b", "$(touch pwned)"])
def test_a_paper_s_key_is_the_name_of_a_module(tmp_path, key):
    (tmp_path / key).mkdir()
    with pytest.raises(ValueError, match="expected a folder named in lower-case letters"):
        Paper.read(tmp_path / key / "paper.yaml", ROOT / "workflow" / "schemas")
