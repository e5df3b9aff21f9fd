import io
import zipfile

import numpy as np
import pytest
import raw_files
import torch
from raw_files import dataset_of, gz, png, tar_gz, write, zipped
from torchvision import datasets

from feature_alignment.data.readers import read, read_class_folders
from feature_alignment.data.sources import find

DRAW = np.random.default_rng(0)


def examples(labels, channels=3, side=32):
    shape = (len(labels), channels, side, side)
    return DRAW.integers(0, 256, shape, dtype=np.uint8), np.asarray(labels)


def idx_cases(source):
    files = raw_files.mnist(source, *GREY)
    return {f"{source} compressed": (gz(files), GREY), f"{source} unpacked": (files, GREY)}


GREY = examples([5, 0, 9], 1, 28), examples([2, 7], 1, 28)
COLOUR = examples([6, 9, 9, 4, 1, 0, 3, 2, 5, 8]), examples([3, 8, 0])
HUNDRED = examples([19, 99, 0, 42]), examples([77, 5])
CIFAR10, CIFAR100 = raw_files.cifar10(*COLOUR), raw_files.cifar100(*HUNDRED)
CASES = {
    **idx_cases("MNIST"),
    **idx_cases("FashionMNIST"),
    **idx_cases("KMNIST"),
    "CIFAR10 compressed": ({"cifar-10-python.tar.gz": tar_gz(CIFAR10)}, COLOUR),
    "CIFAR10 unpacked": (CIFAR10, COLOUR),
    "CIFAR100 compressed": ({"cifar-100-python.tar.gz": tar_gz(CIFAR100)}, HUNDRED),
    "CIFAR100 unpacked": (CIFAR100, HUNDRED),
    "SVHN official": (raw_files.svhn(*COLOUR), COLOUR),
}


@pytest.fixture(autouse=True)
def accept_fabricated_files(monkeypatch):
    """Lift torchvision's own check against the MD5 of the official files."""
    for source in (datasets.CIFAR10, datasets.CIFAR100, datasets.STL10):
        for attribute in ("train_list", "test_list"):
            unchecked = [[name, None] for name, _ in getattr(source, attribute)]
            monkeypatch.setattr(source, attribute, unchecked)
    for source in (datasets.CIFAR10, datasets.CIFAR100):
        monkeypatch.setattr(source, "meta", source.meta | {"md5": None})
    unchecked = {split: [*entry[:2], None] for split, entry in datasets.SVHN.split_list.items()}
    monkeypatch.setattr(datasets.SVHN, "split_list", unchecked)


def read_files(tmp_path, source, files):
    dataset = dataset_of("toy", source, official=files)
    scratch = tmp_path / "scratch"
    arrays = read(dataset, find(dataset, write(tmp_path / "raw", files)), scratch)
    assert not scratch.exists() or not list(scratch.iterdir())
    for split in ("train", "test"):
        assert arrays[f"{split}_images"].dtype == np.uint8
        assert arrays[f"{split}_labels"].dtype == np.int64
    return arrays


@pytest.mark.parametrize("case", CASES)
def test_images_and_labels_are_those_of_the_official_files(tmp_path, case):
    files, (train, test) = CASES[case]
    arrays = read_files(tmp_path, case.split()[0], files)
    for split, (images, labels) in (("train", train), ("test", test)):
        np.testing.assert_array_equal(arrays[f"{split}_images"], images, strict=True)
        np.testing.assert_array_equal(arrays[f"{split}_labels"], labels, strict=True)


def quadrants(labels, sizes):
    """Return images of four patches of one colour each, and those colours (N, 3, 2, 2)."""
    colours = DRAW.integers(0, 256, (len(labels), 3, 2, 2), dtype=np.uint8)
    images = [
        colour.repeat(height // 2, axis=1).repeat(width // 2, axis=2)
        for colour, (height, width) in zip(colours, sizes, strict=True)
    ]
    return (images, np.asarray(labels)), colours


@pytest.mark.parametrize(
    "source, files_of, sizes",
    [
        ("STL10", raw_files.stl10, [(96, 96)] * 3),
        ("GTSRB", raw_files.gtsrb, [(96, 64), (40, 100), (64, 64)]),
    ],
)
def test_larger_images_are_resized_as_they_stand(tmp_path, source, files_of, sizes):
    train, train_colours = quadrants([0, 1, 2], sizes)
    test, test_colours = quadrants([2, 0, 1], sizes)
    arrays = read_files(tmp_path, source, files_of(train, test))
    for split, (_, labels), colours in (
        ("train", train, train_colours),
        ("test", test, test_colours),
    ):
        assert arrays[f"{split}_images"].shape == (3, 3, 32, 32)
        # The middle of a patch is out of reach of the interpolation across its edges
        np.testing.assert_array_equal(arrays[f"{split}_images"][..., 8::16, 8::16], colours)
        np.testing.assert_array_equal(arrays[f"{split}_labels"], labels)


def test_resizing_is_bilinear_with_antialiasing(tmp_path):
    line = np.zeros((1, 3, 96, 96), dtype=np.uint8)
    line[..., 47] = 90
    files = raw_files.stl10((line, np.asarray([0])), (line, np.asarray([0])))
    found = read_files(tmp_path, "STL10", files)["train_images"]
    # Reduced threefold, pixel 15 weighs columns 44…48 by 1, 2, 3, 2, 1 ninths, and 16 47…51
    assert np.unique(found, axis=2).ravel().tolist() == [*[0] * 15, 20, 10, *[0] * 15] * 3


@pytest.mark.parametrize("damage", [lambda raw: raw + b"more", lambda raw: raw[:-20]])
def test_a_gzip_file_with_more_or_less_than_one_stream_is_an_error(tmp_path, damage):
    files = gz(raw_files.mnist("MNIST", *GREY))
    name = next(iter(files))
    with pytest.raises(ValueError, match=f"{name} is not one whole gzip file"):
        read_files(tmp_path, "MNIST", files | {name: damage(files[name])})


def test_a_source_without_reader_is_an_error_that_lists_the_known(tmp_path):
    with pytest.raises(ValueError, match="no reader for torchvision's 'ImageNet'.*SVHN"):
        read_files(tmp_path, "ImageNet", {"images": b""})


# Archives of class folders

PICTURES = examples([0] * 6)[0]
ENTRIES = {
    "toy/train/wolf/1.png": png(PICTURES[0]),
    "toy/train/bear/9.png": png(PICTURES[1]),
    "toy/train/bear/2.PNG": png(PICTURES[2]),
    "toy/test/wolf/b.png": png(PICTURES[3]),
    "toy/test/wolf/a.png": png(PICTURES[4]),
    "toy/test/bear/1.png": png(PICTURES[5]),
    "toy/readme.txt": b"no picture",
}


def read_entries(tmp_path, entries):
    return read_class_folders(write(tmp_path, {"toy.zip": zipped(entries)}) / "toy.zip")


def test_classes_and_pictures_are_ordered_by_name(tmp_path):
    arrays = read_entries(tmp_path, ENTRIES)
    assert {name: values.dtype for name, values in arrays.items()} == {
        "train_images": np.uint8,
        "train_labels": np.int64,
        "test_images": np.uint8,
        "test_labels": np.int64,
    }
    np.testing.assert_array_equal(arrays["train_images"], PICTURES[[2, 1, 0]])
    np.testing.assert_array_equal(arrays["test_images"], PICTURES[[5, 4, 3]])
    assert arrays["train_labels"].tolist() == [0, 0, 1]
    assert arrays["test_labels"].tolist() == [0, 1, 1]


def test_the_folder_above_train_and_test_does_not_matter(tmp_path):
    bare = {name.removeprefix("toy/"): content for name, content in ENTRIES.items()}
    deep = {f"a/train/{name}": content for name, content in ENTRIES.items()}
    expected = read_entries(tmp_path, ENTRIES)
    for entries in (bare, deep):
        found = read_entries(tmp_path, entries)
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_an_archive_of_class_folders_is_read_without_unpacking(tmp_path):
    dataset = dataset_of("toy", "CIFAR10", 2, (3, 32, 32), 3, 3, official={"absent": b""})
    located = find(dataset, write(tmp_path, {"toy.zip": zipped(ENTRIES)}))
    arrays = read(dataset, located, tmp_path / "scratch")
    assert arrays["train_images"].shape == (3, 3, 32, 32)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.zip"]


def test_grey_pictures_have_one_channel(tmp_path):
    grey = examples([0, 0], channels=1, side=28)[0]
    arrays = read_entries(tmp_path, {"train/0/a.png": png(grey[0]), "test/0/a.png": png(grey[1])})
    np.testing.assert_array_equal(arrays["train_images"], grey[:1])
    np.testing.assert_array_equal(arrays["test_images"], grey[1:])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"toy/train/wolf/1.png": b"text"}, r"toy\.zip: toy/train/wolf/1\.png cannot be read"),
        (
            {"toy/test/wolf/a.png": png(PICTURES[4])[:-800]},
            r"toy\.zip: toy/test/wolf/a\.png cannot be read",
        ),
        (
            {"toy/train/wolf/1.png": png(PICTURES[0][:, :31])},
            r"every image as \(3, 32, 32\), got \(3, 31, 32\) in toy/train/wolf/1\.png",
        ),
        (
            {"toy/train/wolf/1.png": png(PICTURES[0][:1])},
            r"every image as \(3, 32, 32\), got \(1, 32, 32\) in toy/train/wolf/1\.png",
        ),
        (
            {"toy/test/deer/1.png": png(PICTURES[0])},
            r"same class folders.*\['bear', 'wolf'\] and \['bear', 'deer', 'wolf'\]",
        ),
    ],
)
def test_a_malformed_entry_is_an_error_that_names_it(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_entries(tmp_path, ENTRIES | changes)


def test_an_archive_without_class_folders_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"toy\.zip: expected the same class folders.*\[\]"):
        read_entries(tmp_path, {"toy/readme.txt": b"no picture"})


WHOLE = zipped(ENTRIES)


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", WHOLE[:-10], WHOLE[: len(WHOLE) // 2]],
    ids=["empty", "other", "end missing", "half"],
)
def test_what_is_no_whole_archive_is_an_error_that_names_it(tmp_path, content):
    write(tmp_path, {"toy.zip": content})
    with pytest.raises(ValueError, match=r"toy\.zip is not a whole ZIP archive"):
        read_class_folders(tmp_path / "toy.zip")


def test_a_damaged_entry_is_an_error_that_names_it(tmp_path):
    first = png(PICTURES[0])
    write(tmp_path, {"toy.zip": WHOLE.replace(first, first[:-100] + bytes(100))})
    with pytest.raises(ValueError, match=r"toy/train/wolf/1\.png cannot be read.*CRC"):
        read_class_folders(tmp_path / "toy.zip")


def test_a_damaged_compressed_entry_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "toy.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in ("train/bear/1.png", "test/bear/1.png"):
            archive.writestr(entry, png(PICTURES[0]))
    content = bytearray(path.read_bytes())
    content[30 + len("train/bear/1.png")] ^= 0xFF  # the first byte after the first local header
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"train/bear/1\.png cannot be read"):
        read_class_folders(path)


def test_torchvisions_own_unchecked_copy_is_not_read(tmp_path):
    files = raw_files.mnist("MNIST", *GREY)
    buffer = io.BytesIO()
    torch.save((torch.zeros(1, 28, 28, dtype=torch.uint8), torch.zeros(1)), buffer)
    legacy = {f"MNIST/processed/{name}.pt": buffer.getvalue() for name in ("training", "test")}
    dataset = dataset_of("mnist", "MNIST", unpacked=files)
    located = find(dataset, write(tmp_path / "raw", files | legacy))
    arrays = read(dataset, located, tmp_path / "scratch")
    np.testing.assert_array_equal(arrays["train_images"], GREY[0][0])
