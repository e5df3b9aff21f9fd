import contextlib
import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from safetensors.numpy import save_file

from feature_alignment import storage
from feature_alignment.integrity import read_sealed, sealed, verify
from feature_alignment.plots import draw
from feature_alignment.schema import read_yaml
from feature_alignment.tables import read_arrays, read_table, tidy, write_table

WRITER = Path(__file__).with_name("killed_writes.py")


def write(path, text, to=None):
    with storage.replacing(path) as temporary, (to or temporary).open("w") as file:
        file.write(text)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "folder" / "file"
    write(path, "old")
    with pytest.raises(TypeError):
        write(path, None)
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path):
    path = tmp_path / "file"
    write(path, "old")
    with pytest.raises(OSError, match=r"cannot write .*/file: No space left.*; make space and run"):
        write(path, "x" * 100_000, to=Path("/dev/full"))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    expected = hashlib.sha256(b"abc" * 100_000).hexdigest()
    assert storage.sha256(tmp_path / "file") == expected


def test_json_errors_name_the_file(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON"):
        storage.read_json(tmp_path / "a.json")


@contextlib.contextmanager
def writing(path):
    """Let another process write half of a file, and kill it after the block."""
    process = subprocess.Popen([sys.executable, WRITER, path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "writing\n"
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_what_killed_writers_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "file"
    write(path, "old")
    for _ in range(2):
        with writing(path):
            assert len(list(tmp_path.iterdir())) == 2  # the second has removed the first's
    assert path.read_text() == "old"
    (tmp_path / ".file.notes").write_text("a user's own")
    (tmp_path / ".file2.abcdefgh.tmp").write_text("of another file")
    storage.remove_orphans(path)
    kept = {".file.notes", ".file2.abcdefgh.tmp", "file"}
    assert {found.name for found in tmp_path.iterdir()} == kept


def test_two_may_write_the_same_file_at_once(tmp_path):
    path = tmp_path / "file"
    with writing(path):
        [other] = tmp_path.iterdir()
        write(path, "new")
        with storage.replacing(path) as temporary:
            storage.remove_orphans(path)
            temporary.write_text("newer")
        assert {found.name for found in tmp_path.iterdir()} == {"file", other.name}
    write(path, "newest")
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_folder_of_scratch_is_removed_too(tmp_path):
    with storage.scratch_folder(tmp_path / "unpacked") as folder:
        (folder / "inside").write_text("x")
        storage.remove_orphans(tmp_path / "unpacked")
        assert (folder / "inside").exists()
    assert not list(tmp_path.iterdir())
    (tmp_path / ".unpacked.abcdefgh.tmp" / "inside").mkdir(parents=True)
    (tmp_path / ".unpacked.abcdefgh.tmp" / "lock").touch()
    (tmp_path / ".unpacked.ijklmnop.tmp").mkdir()
    with storage.scratch_folder(tmp_path / "unpacked") as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_a_file_system_without_locks_keeps_everything(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    (tmp_path / ".file.abcdefgh.tmp").mkdir()
    (tmp_path / ".file.abcdefgh.tmp" / "lock").write_text("perhaps of a living writer")
    write(tmp_path / "file", "new")
    assert {found.name for found in tmp_path.iterdir()} == {"file", ".file.abcdefgh.tmp"}


LARGE = np.random.default_rng(0).integers(0, 255, 1 << 20, dtype=np.uint8)


def write_tensors(path):
    with storage.replacing(path) as temporary:
        save_file({"x": LARGE}, temporary)


def write_figure(path):
    figure = Figure((12, 12))
    figure.add_subplot().imshow(LARGE.reshape(1024, 1024), interpolation="nearest")
    draw.save(figure, path.with_suffix(".pdf"), path.with_suffix(".png"))


WRITERS = {
    "table.csv": lambda path: write_table(path, tidy([{"value": x} for x in range(50_000)]), {}),
    "arrays.npz": lambda path: storage.write_arrays(path, {"x": LARGE}),
    "tensors.safetensors": write_tensors,
    "ledger.json": lambda path: storage.write_json(path, LARGE[:100_000].tolist()),
    "page.html": lambda path: storage.write_text(path, "x" * (1 << 20)),
    "figure.pdf": write_figure,
}
LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_storage import WRITERS
from feature_alignment import command
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, 1 << 17))
path = Path(sys.argv[2])
command.run(lambda _: WRITERS[path.name](path))
"""


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_does_not_fit_is_one_sentence_and_leaves_nothing(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    code = [sys.executable, "-c", LIMITED, str(WRITER.parent), str(path)]
    done = subprocess.run(code, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot write {path}: ")
    assert done.stderr.endswith(f"make space and run the same again. {name} is as it was\n")
    assert done.stderr.count("\n") == 1
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    WRITERS[name](path)
    assert path.read_bytes() != b"old"


def test_a_seal_is_over_contents(tmp_path):
    value = {"b": [1, 2.5, None], "a": {3: "x"}, "ä": True}
    storage.write_json(tmp_path / "a.json", sealed(value))
    assert read_sealed(tmp_path / "a.json") == {"b": [1, 2.5, None], "a": {"3": "x"}, "ä": True}
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace(" ", ""))
    read_sealed(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(text.replace("2.5", "2.25"))
    with pytest.raises(ValueError, match=r"a\.json was changed .*expected contents of sha256"):
        read_sealed(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(text[:20])
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON.*Delete it and run snakemake"):
        read_sealed(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON"):
        read_sealed(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["[]", "{}", '{"checksums": {}}', '{"a": 1}', "null"])
def test_provenance_without_checksums_vouches_for_nothing(tmp_path, text):
    (tmp_path / "t.csv").write_text("x")
    verify(tmp_path / "t.csv")
    (tmp_path / "t.meta.json").write_text(text)
    verify(tmp_path / "t.csv")


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_others_may_read_and_write_what_the_user_lets_them(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        write(tmp_path / "file", "text")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_the_home_folder_is_meant_by_its_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/My Drive")
    assert storage.at_home("~/out") == Path("/home/My Drive/out")
    assert storage.at_home("a/~") == Path("a/~")
    with pytest.raises(ValueError, match="~nobody_here/out: ~ means no folder here; write"):
        storage.at_home("~nobody_here/out")


@pytest.mark.parametrize(
    "read",
    [storage.read_json, read_yaml, read_table, read_arrays, storage.sha256],
    ids=lambda read: read.__name__,
)
def test_what_is_no_file_is_an_error_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"a\.csv: expected a regular file, found a pipe"):
        read(tmp_path / "a.csv")
    (tmp_path / "b.csv").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"b\.csv is a link that leads nowhere"):
        read(tmp_path / "b.csv")
