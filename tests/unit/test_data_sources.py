import hashlib
import itertools
import os
import re
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest
from raw_files import REGISTRY, dataset_of, write, write_registry

from feature_alignment.data import sources
from feature_alignment.data.registry import COLUMNS, read_registry
from feature_alignment.data.sources import DatasetUnavailableError, find, locate

PACKED = {"toy/images.gz": b"packed images", "toy/labels.gz": b"packed labels"}
UNPACKED = {"toy/images": b"images", "toy/labels": b"labels"}
TOY = dataset_of("cifar10", "CIFAR10", 10, (3, 32, 32), 5, 2, compressed=PACKED, unpacked=UNPACKED)


def files_under(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Registry


def test_registry_holds_the_datasets_of_the_papers():
    registry = read_registry(REGISTRY)
    assert sorted(registry) == sorted(
        ["mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "svhn", "stl10", "gtsrb"]
    )
    assert [file.path for file in registry["svhn"].download] == [
        "train_32x32.mat",
        "test_32x32.mat",
    ]


def test_a_registry_is_read_as_it_was_written(tmp_path):
    assert read_registry(write_registry(tmp_path / "r.csv", TOY)) == {"cifar10": TOY}


def test_download_is_the_edition_with_addresses():
    unpacked = tuple(replace(file, url="") for file in TOY.editions["unpacked"])
    editions = {"unpacked": unpacked, "compressed": TOY.editions["compressed"]}
    assert replace(TOY, editions=editions).download == TOY.editions["compressed"]


def test_a_registry_with_other_columns_is_refused(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(REGISTRY.read_text(encoding="utf-8").replace("sha256", "md5"), encoding="utf-8")
    with pytest.raises(ValueError, match="expected the columns .*'sha256'.*got .*'md5'"):
        read_registry(path)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sha256": "F" * 64}, "64 hexadecimal digits as sha256 of toy/images.gz, got 'FFF"),
        ({"sha256": "f" * 63}, "64 hexadecimal digits as sha256 of toy/images.gz, got 'fff"),
        ({"bytes": "many"}, "cifar10: malformed row: expected the file's size as bytes of toy/im"),
    ],
)
def test_a_malformed_dataset_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_registry(write_registry(tmp_path / "r.csv", TOY, **changes))


@pytest.mark.parametrize("file", ["../images.gz", "toy/../../images.gz", "/tmp/images.gz"])
def test_a_raw_file_lies_in_the_raw_folder(tmp_path, file):
    with pytest.raises(ValueError, match="as file of|expected a path without"):
        read_registry(write_registry(tmp_path / "r.csv", TOY, file=file))


@pytest.mark.parametrize("name", ["../mnist", "a/b", "a|.*", "$(touch pwned)", "", "{x}"])
def test_a_dataset_s_name_is_one_word(tmp_path, name):
    with pytest.raises(ValueError, match="as name of"):
        read_registry(write_registry(tmp_path / "r.csv", TOY, name=name))


FIRST = "cifar10,CIFAR10,10,3x32x32,5,2,compressed,toy/images.gz,"


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("\ncifar10,.*", "", "expected at least one dataset, got the header alone"),
        (
            "CIFAR10",
            "ImageNet",
            "cifar10: malformed row: expected MNIST, .*GTSRB or local as source",
        ),
        ("CIFAR10", "CIFAR100", "cifar10: expected the same source in all rows, got .*CIFAR100"),
        ("3x32x32", "32x32", "expected 1x<height>x<width> .* as shape of .*, got '32x32'"),
        ("3x32x32", "", "expected 1x<height>x<width> .* as shape of .*, got ''"),
        (",5,2,", ",5,0,", "expected the number of test images as test of .*, got '0'"),
        (",5,2,", ",,2,", "expected the number of training images as train of .*, got ''"),
        (",13,", ",,", "expected the file's size as bytes of toy/images.gz, got ''"),
        (",13,", ",1_3,", "expected the file's size as bytes of toy/images.gz, got '1_3'"),
        (",13,", ",\u0661,", "expected the file's size as bytes of toy/images.gz"),
        (",13,", ",-13,", "expected the file's size as bytes of toy/images.gz, got '-13'"),
        (",13,", f",{'9' * 5000},", "expected the file's size as bytes of toy/images.gz"),
        ("toy/images.gz", "../images.gz", r"expected a path without \.\., got '\.\./images\.gz'"),
        ("toy/images.gz", "/etc/passwd", "expected a path below the data folder"),
        ("toy/labels.gz", "toy/images.gz", "cifar10: toy/images.gz is listed twice"),
        ("compressed", "unpacked", "cifar10: edition unpacked has toy/images twice, packed and u"),
        ("http:", "file:", "expected an http address or nothing as url"),
        ("cifar10,", "cifar|10,", "expected letters, digits, _ and - as name"),
        ("cifar10,", "digits,", "digits is the name of a bundled stand-in"),
        ("a licence", "l" * 200_000, "is not a table of datasets .*field larger than"),
        (
            "a licence",
            "l\0",
            "cifar10: malformed row: expected no control characters in the column 'licence'",
        ),
        (",a licence", "", "malformed row: expected 13 cells, got 12"),
        (",a licence", ",a, licence", "malformed row: expected 13 cells, got 14"),
    ],
)
def test_a_damaged_registry_is_a_sentence(tmp_path, old, new, message):
    path = write_registry(tmp_path / "r.csv", TOY)
    text = path.read_text(encoding="utf-8")
    first = text.index(FIRST)
    changed = re.sub(old, new.replace("\\", r"\\"), text[first - 1 :], count=1, flags=re.DOTALL)
    path.write_text(text[: first - 1] + changed, encoding="utf-8")
    assert changed != text[first - 1 :]
    with pytest.raises(ValueError, match=message) as caught:
        read_registry(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 500


def test_a_registry_that_is_no_text_or_no_file_is_a_sentence(tmp_path):
    path = tmp_path / "r.csv"
    with pytest.raises(ValueError, match="expected the table of datasets, found no regular file"):
        read_registry(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"r\.csv is not a table of datasets"):
        read_registry(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="expected the table of datasets, found no regular file"):
        read_registry(path)


def test_a_local_dataset_may_declare_what_it_holds(tmp_path):
    path = tmp_path / "r.csv"
    rows = "a,local,2,,,,,,,,,ours,us", "b,local,3,1x8x9,5,4,,,,,,ours,us"
    path.write_text("\n".join([",".join(COLUMNS), *rows]), encoding="utf-8")
    found = [(x.classes, x.shape, x.train, x.test) for x in read_registry(path).values()]
    assert found == [(2, None, None, None), (3, (1, 8, 9), 5, 4)]
    path.write_text(path.read_text().replace(",4,,,", ",4,official,,"), encoding="utf-8")
    with pytest.raises(ValueError, match="expected nothing in the row of a local dataset as editi"):
        read_registry(path)


def test_what_datasets_hold_is_what_was_published():
    found = {
        x.name: (x.shape, x.train, x.test, x.classes) for x in read_registry(REGISTRY).values()
    }
    grey, colour = (1, 28, 28), (3, 32, 32)
    assert found == {
        **dict.fromkeys(["mnist", "fashion_mnist", "kmnist"], (grey, 60_000, 10_000, 10)),
        "cifar10": (colour, 50_000, 10_000, 10),
        "cifar100": (colour, 50_000, 10_000, 100),
        "svhn": (colour, 73_257, 26_032, 10),
        "stl10": (colour, 5_000, 8_000, 10),
        "gtsrb": (colour, 26_640, 12_630, 43),
    }


def test_a_dataset_without_an_address_for_each_file_is_refused(tmp_path):
    images, labels = TOY.editions["compressed"]
    incomplete = replace(TOY, editions={"compressed": (images, replace(labels, url=""))})
    with pytest.raises(ValueError, match="cifar10: no edition has a url for each of its files"):
        read_registry(write_registry(tmp_path / "r.csv", incomplete))


# Folders


@pytest.mark.parametrize("edition, files", [("compressed", PACKED), ("unpacked", UNPACKED)])
def test_a_whole_edition_is_found(tmp_path, edition, files):
    located = find(TOY, write(tmp_path, files))
    assert (located.root, located.edition) == (tmp_path, edition)
    assert list(located.files) == [
        {"file": path, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for path, data in files.items()
    ]


@pytest.mark.parametrize("missing", PACKED)
def test_an_edition_that_misses_a_file_is_not_found(tmp_path, missing):
    write(tmp_path, PACKED)
    (tmp_path / missing).unlink()
    assert find(TOY, tmp_path) is None


def test_one_wrong_byte_is_an_error_that_names_file_and_checksums(tmp_path):
    damaged = b"packed lAbels"
    write(tmp_path, {**PACKED, "toy/labels.gz": damaged})
    with pytest.raises(ValueError, match="wrong checksum") as caught:
        find(TOY, tmp_path)
    for content in (PACKED["toy/labels.gz"], damaged):
        assert hashlib.sha256(content).hexdigest() in str(caught.value)
    assert str(tmp_path / "toy/labels.gz") in str(caught.value)
    assert "images.gz" not in str(caught.value)


def test_an_incomplete_edition_is_passed_over_aloud(tmp_path, caplog):
    write(tmp_path, {**UNPACKED, "toy/images.gz": PACKED["toy/images.gz"]})
    assert find(TOY, tmp_path).edition == "unpacked"
    assert "compressed edition incomplete" in caplog.text
    assert "no toy/labels.gz" in caplog.text


def test_a_damaged_edition_is_an_error_beside_an_intact_one_too(tmp_path):
    write(tmp_path, {**PACKED, "toy/labels.gz": b"damaged", **UNPACKED})
    with pytest.raises(ValueError, match="wrong checksum of .*labels.gz"):
        find(TOY, tmp_path)


MIXTURES = [
    dict(zip(UNPACKED, choice, strict=True))
    for choice in itertools.product(["packed", "unpacked", "both"], repeat=2)
]


@pytest.mark.parametrize("mixture", MIXTURES)
def test_packed_and_unpacked_files_mix(tmp_path, mixture):
    for path, form in mixture.items():
        if form in ("packed", "both"):
            write(tmp_path, {f"{path}.gz": PACKED[f"{path}.gz"]})
        if form in ("unpacked", "both"):
            write(tmp_path, {path: UNPACKED[path]})
    located = find(TOY, tmp_path)
    assert [file["file"].removesuffix(".gz") for file in located.files] == list(UNPACKED)
    assert all((tmp_path / file["file"]).is_file() for file in located.files)
    forms = set(mixture.values()) - {"both"}
    mixed = len(forms) == 2
    assert (located.edition == "compressed and unpacked") == mixed


@pytest.mark.parametrize("damaged", ["toy/images.gz", "toy/labels"])
def test_a_mixture_is_checked_file_by_file(tmp_path, damaged):
    mixture = {"toy/images.gz": PACKED["toy/images.gz"], "toy/labels": UNPACKED["toy/labels"]}
    write(tmp_path, mixture | {damaged: b"damaged"})
    with pytest.raises(ValueError, match=f"wrong checksum of {tmp_path / damaged}: "):
        find(TOY, tmp_path)


def test_a_size_that_the_registry_has_wrong_is_said(tmp_path):
    images, labels = TOY.editions["compressed"]
    wrong = replace(TOY, editions={"compressed": (images, replace(labels, bytes=14))})
    with pytest.raises(
        ValueError, match="labels.gz has the right checksum and 13 bytes, but .* 14"
    ):
        find(wrong, write(tmp_path, PACKED))


@pytest.mark.parametrize(
    "there, told",
    [
        (["toy/images.gz"], "toy/images.gz"),
        (["toy/labels"], "toy/labels"),
        (["toy/images-.gz"], "toy/images-.gz"),
        (["toy/Images", "toy/other"], "toy/Images"),
        (["labels"], "labels"),
        (["CIFAR-10.zip"], "CIFAR-10.zip"),
        (["cifar-10-python.tar.gz"], "cifar-10-python.tar.gz"),
        (["cifar10.tar"], "cifar10.tar"),
        (["cifar100.zip", "images.png", "mycifar10"], None),
        ([f"cifar10-v{n}.tar" for n in range(10)], "cifar10-v0.tar, .* cifar10-v7.tar and 2 more"),
    ],
)
def test_what_looks_like_the_dataset_is_named(tmp_path, monkeypatch, there, told):
    monkeypatch.setattr(sources, "RETRIES", 0)
    given, raw = write(tmp_path / "given", dict.fromkeys(there, b"?")), tmp_path / "raw"
    with pytest.raises(DatasetUnavailableError) as caught:
        locate(TOY, given, raw)
    where = f"{given}, where there is {told}, and in {raw}" if told else f"{given}, and in {raw}"
    assert re.search(f"looked in {where}; download failed", str(caught.value))


def test_names_of_other_tools_are_near_misses_of_the_official_ones(tmp_path):
    there = {"MNIST/raw/train-images.idx3-ubyte": b"", "FashionMNIST/raw/t10k-labels": b""}
    official = {"MNIST/raw/train-images-idx3-ubyte.gz": b"images"}
    dataset = dataset_of("mnist", "MNIST", compressed=official)
    found = sources.near_misses(dataset, write(tmp_path, there))
    assert found == ["MNIST/raw/train-images.idx3-ubyte"]


@pytest.mark.parametrize(
    "name", ["cifar10.zip", "cifar10-jpeg.zip", "cifar10_v2.zip", "cifar10.ZIP"]
)
def test_an_archive_of_class_folders_is_found(tmp_path, name):
    located = find(TOY, write(tmp_path, {name: b"archive"}))
    assert located.edition == sources.CLASS_FOLDERS
    sha256 = hashlib.sha256(b"archive").hexdigest()
    assert located.files == ({"file": name, "sha256": sha256, "bytes": 7},)


@pytest.mark.parametrize("name", ["cifar100.zip", "my-cifar10.zip", "cifar10.tar", "cifar10x.zip"])
def test_an_archive_of_another_name_is_not_found(tmp_path, name):
    assert find(TOY, write(tmp_path, {name: b"archive"})) is None


def test_two_archives_are_ambiguous(tmp_path):
    write(tmp_path, {"cifar10-a.zip": b"a", "cifar10-b.zip": b"b"})
    with pytest.raises(ValueError, match=r"several archives.*cifar10-a\.zip, cifar10-b\.zip"):
        find(TOY, tmp_path)


def test_official_files_win_over_an_archive(tmp_path):
    write(tmp_path, {"cifar10.zip": b"archive", **UNPACKED})
    assert find(TOY, tmp_path).edition == "unpacked"


def test_the_given_folder_comes_before_the_raw_folder(tmp_path):
    given, raw = write(tmp_path / "given", UNPACKED), write(tmp_path / "raw", PACKED)
    assert locate(TOY, given, raw).root == given
    assert locate(TOY, None, raw).root == raw
    (given / "toy/images").unlink()
    assert locate(TOY, given, raw).root == raw


def test_a_given_folder_that_does_not_exist_is_an_error(tmp_path):
    raw = write(tmp_path / "raw", PACKED)
    with pytest.raises(DatasetUnavailableError, match=f"{tmp_path / 'typo'} does not exist"):
        locate(TOY, tmp_path / "typo", raw)


def test_a_given_folder_that_is_something_else_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatasetUnavailableError, match=f"{tmp_path / 'pipe'} is not a folder"):
        locate(TOY, tmp_path / "pipe", tmp_path / "raw")


# Downloads


def answer_with(request, body, announced=None, status=200):
    request.send_response(status)
    request.send_header("Content-Length", str(announced or len(body)))
    request.end_headers()
    request.wfile.write(body)


def whole(request, body):
    answer_with(request, body)


def truncated(request, body):
    answer_with(request, body[:-1], announced=len(body))


def altered(request, body):
    answer_with(request, body[::-1])


def absent(request, body):
    answer_with(request, b"no such file", status=404)


@pytest.fixture
def server(monkeypatch):
    """Serve PACKED on loopback; ``answers`` says how, one after the other, by default whole."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            answer = self.server.answers.pop(0) if self.server.answers else whole
            answer(self, PACKED[self.path.removeprefix("/")])

        def log_message(self, *arguments):
            """Keep quiet."""

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sources, "RETRIES", 0)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers, server.asked = [], []
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_download_is_checked_found_and_leaves_nothing_else(tmp_path, server):
    located = locate(TOY, None, tmp_path / "raw", server.address)
    assert located == find(TOY, tmp_path / "raw")
    assert located.edition == "compressed"
    assert files_under(tmp_path / "raw") == PACKED


def test_what_was_downloaded_is_not_downloaded_again(tmp_path, server):
    write(tmp_path, {"toy/images.gz": PACKED["toy/images.gz"]})
    first = locate(TOY, None, tmp_path, f"{server.address}/")
    assert locate(TOY, None, tmp_path, server.address) == first
    assert server.asked == ["/toy/labels.gz"]


def test_without_a_mirror_the_official_address_is_used(tmp_path, server):
    files = [replace(f, url=f"{server.address}/{f.path}") for f in TOY.editions["compressed"]]
    located = locate(replace(TOY, editions={"compressed": tuple(files)}), None, tmp_path)
    assert files_under(located.root) == PACKED


def assert_unavailable(tmp_path, address):
    given, raw = tmp_path / "given", tmp_path / "raw"
    given.mkdir()
    with pytest.raises(DatasetUnavailableError) as caught:
        locate(TOY, given, raw, address)
    ways_out = ["by hand", "FEATURE_ALIGNMENT_DATA", "data_dir", "scale=smoke"]
    for expected in ["toy/images.gz", str(given), str(raw), f"{address}/toy/images.gz", *ways_out]:
        assert expected in str(caught.value)
    assert files_under(tmp_path) == {}
    return caught.value


@pytest.mark.parametrize("answer", [truncated, altered])
def test_a_failed_download_names_the_ways_out_and_leaves_nothing(tmp_path, server, answer):
    server.answers = [answer]
    assert_unavailable(tmp_path, server.address)
    assert server.asked == ["/toy/images.gz"]


def test_a_file_that_the_server_lacks_names_the_ways_out(tmp_path, server):
    server.answers = [absent]
    error = assert_unavailable(tmp_path, server.address)
    error.__cause__.response.close()  # pooch leaves the socket open, which would be a warning


def test_an_unreachable_server_names_the_ways_out(tmp_path, server):
    server.server_close()
    assert_unavailable(tmp_path, server.address)


def test_a_failure_at_the_second_file_leaves_no_whole_edition(tmp_path, server):
    server.answers = [whole, truncated]
    with pytest.raises(DatasetUnavailableError, match=r"cannot get toy/labels\.gz"):
        locate(TOY, None, tmp_path, server.address)
    assert files_under(tmp_path) == {"toy/images.gz": PACKED["toy/images.gz"]}
    assert find(TOY, tmp_path) is None


def test_a_retry_succeeds_after_one_failure(tmp_path, server, monkeypatch):
    waits = []
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=waits.append))
    monkeypatch.setattr(sources, "RETRIES", 1)
    server.answers = [truncated]
    assert locate(TOY, None, tmp_path, server.address).edition == "compressed"
    assert server.asked == ["/toy/images.gz", "/toy/images.gz", "/toy/labels.gz"]
    assert len(waits) == 1
    assert files_under(tmp_path) == PACKED
