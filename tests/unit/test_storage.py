import hashlib
import os
from pathlib import Path

import pytest

from feature_alignment import storage


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
    with pytest.raises(OSError, match="No space left"):
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
