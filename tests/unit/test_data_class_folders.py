"""Class folders are read whole and exactly, or refused with a sentence; nothing is lost."""

import io
import logging
import os
import socket
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from raw_files import dataset_of, png, write, zipped

from feature_alignment.data import class_folders
from feature_alignment.data.class_folders import read_class_folders
from feature_alignment.data.registry import LOCAL, Dataset
from feature_alignment.data.sources import find

DRAW = np.random.default_rng(0)
CLASSES, TRAIN, TEST = ("bear", "wolf"), 24, 8


def pictures(count, shape=(3, 32, 32)):
    return DRAW.integers(0, 256, (count, *shape), dtype=np.uint8)


def folders(pixels, encode=png, ending="png", root="toy/"):
    """Return the files of class folders, whose images are ``pixels``, those for testing last."""
    files = {}
    for number, image in enumerate(pixels):
        split = "train" if number < TRAIN else "test"
        files[f"{root}{split}/{CLASSES[number % 2]}/{number:02d}.{ending}"] = encode(image)
    return files


COLOUR, GREY = pictures(TRAIN + TEST), pictures(TRAIN + TEST, (1, 28, 28))
WHOLE = folders(COLOUR)
FIRST, SECOND = list(WHOLE)[:2]
TOY = dataset_of("toy", "CIFAR10", 2, (3, 32, 32), TRAIN, TEST)
GREY_TOY = dataset_of("toy", "MNIST", 2, (1, 28, 28), TRAIN, TEST)
OWN = Dataset("toy", LOCAL, 2, None, None, None, "", "", {})


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def as_mode(mode, kind="PNG", **options):
    """Return an encoder that converts to another mode first."""
    return lambda pixels: saved(
        Image.fromarray(pixels.transpose(1, 2, 0)).convert(mode), kind, **options
    )


def chunk(kind, content):
    return (
        len(content).to_bytes(4, "big")
        + kind
        + content
        + zlib.crc32(kind + content).to_bytes(4, "big")
    )


def raw_png(width, height, bits, colour, rows):
    """Return a PNG by hand: Pillow writes no 16-bit colours, and no picture this large."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, colour, 0, 0, 0])
    signature = b"\x89PNG\r\n\x1a\n"
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return signature + body


def deep_colour(pixels):
    rows = pixels.transpose(1, 2, 0).astype(">u2").reshape(len(pixels[0]), -1)
    packed = b"".join(b"\0" + row.tobytes() for row in rows * 257)
    return raw_png(pixels.shape[2], pixels.shape[1], 16, 2, packed)


def deep_grey(pixels):
    return saved(Image.fromarray(pixels[0].astype(np.uint16) * 257))


def with_text_bomb(pixels):
    information = PngImagePlugin.PngInfo()
    information.add_text("comment", "a" * 2**21, zip=True)
    return saved(Image.fromarray(pixels.transpose(1, 2, 0)), pnginfo=information)


def moving(pixels):
    frame = Image.fromarray(pixels.transpose(1, 2, 0))
    return saved(frame, save_all=True, append_images=[frame.rotate(90)])


def jpeg(pixels):
    return saved(Image.fromarray(pixels.transpose(1, 2, 0)), "JPEG", quality=75)


def of_size(height, width):
    return folders(pictures(TRAIN + TEST, (3, height, width)))


def without(*names):
    return {name: content for name, content in WHOLE.items() if name not in names}


def one_image_in_a_class():
    moved = {}
    for number, content in enumerate(WHOLE.values()):
        split = "train" if number < TRAIN else "test"
        moved[f"{split}/{CLASSES[number not in (0, TRAIN)]}/{number}.png"] = content
    return moved


def prefixed(files, prefix):
    return {f"{prefix}{name}": content for name, content in files.items()}


def large(side):
    return raw_png(side, side, 1, 0, bytes(100))


MODE = r"expected 8-bit grey .* or 8-bit colour .*, got "
REFUSED = {
    "64 by 64": (TOY, of_size(64, 64), r"as \(3, 32, 32\), got \(3, 64, 64\) in toy/train/bear/00"),
    "28 by 28": (TOY, of_size(28, 28), r"as \(3, 32, 32\), got \(3, 28, 28\) in toy/train/bear/00"),
    "1 by 1": (TOY, of_size(1, 1), r"as \(3, 32, 32\), got \(3, 1, 1\) in toy/train/bear/00"),
    "32 by 31": (TOY, of_size(32, 31), r"as \(3, 32, 32\), got \(3, 32, 31\) in toy/train/bear/00"),
    "one of another size": (
        TOY,
        WHOLE | {SECOND: png(pictures(1, (3, 32, 31))[0])},
        rf"as \(3, 32, 32\), got \(3, 32, 31\) in {SECOND}",
    ),
    "all grey": (TOY, folders(COLOUR[:, :1]), r"as \(3, 32, 32\), got \(1, 32, 32\)"),
    "all grey as colour": (
        TOY,
        folders(COLOUR[:, :1].repeat(3, axis=1)),
        "not the published images: all images below train/ are grey, stored as colour",
    ),
    "grey as colour": (
        GREY_TOY,
        folders(GREY.repeat(3, axis=1)),
        r"as \(1, 28, 28\), got \(3, 28, 28\)",
    ),
    "16-bit grey": (GREY_TOY, folders(GREY, deep_grey), f"{MODE}the mode I;16"),
    "16-bit colour": (TOY, folders(COLOUR, deep_colour), f"{MODE}16 bits"),
    "1 bit": (TOY, folders(COLOUR, as_mode("1")), f"{MODE}the mode 1;"),
    "grey with alpha": (TOY, folders(COLOUR, as_mode("LA")), f"{MODE}the mode LA"),
    "colour with alpha": (TOY, folders(COLOUR, as_mode("RGBA")), f"{MODE}the mode RGBA"),
    "palette": (TOY, folders(COLOUR, as_mode("P")), f"{MODE}the mode P;"),
    "transparent colour": (
        TOY,
        folders(COLOUR, as_mode("RGB", transparency=(1, 2, 3))),
        f"{MODE}a transparent colour",
    ),
    "CMYK": (TOY, folders(COLOUR, as_mode("CMYK", "JPEG"), "jpg"), f"{MODE}the mode CMYK"),
    "moving": (TOY, folders(COLOUR, moving), f"{MODE}2 frames"),
    "another format": (
        TOY,
        folders(COLOUR, as_mode("RGB", "BMP")),
        "toy/train/bear/00.png cannot be read as an image",
    ),
    "one copied over": (TOY, folders(COLOUR[:1].repeat(TRAIN + TEST, axis=0)), "23 of 24 images"),
    "tested on training images": (
        TOY,
        folders([*COLOUR[:TRAIN], *COLOUR[:TEST]]),
        "8 of 8 images below test/ are copies",
    ),
    "a truncated JPEG": (
        TOY,
        folders(COLOUR, jpeg, "jpg") | {"toy/train/bear/00.jpg": jpeg(COLOUR[0])[:-1]},
        "toy/train/bear/00.jpg cannot be read as an image.*truncated",
    ),
    "a training image less": (TOY, without(FIRST), "expected 24 images below train/, got 23"),
    "a test image more": (
        TOY,
        WHOLE | {"toy/test/bear/99.png": png(COLOUR[0])},
        "expected 8 images below test/, got 9",
    ),
    "another class": (
        TOY,
        WHOLE | dict.fromkeys(["toy/train/deer/1.png", "toy/test/deer/1.png"], WHOLE[FIRST]),
        "toy: expected 2 classes, got 3",
    ),
    "one image in a class": (
        dataset_of("toy", "CIFAR10", 2, (3, 32, 32), TRAIN, TEST),
        one_image_in_a_class(),
        "expected about 12 images in each class, got 1 in train/bear",
    ),
    "bmp beside": (
        TOY,
        WHOLE | {"toy/train/bear/99.bmp": as_mode("RGB", "BMP")(COLOUR[0])},
        r"expected .png and .jpg images alone.* got 1 others: toy/train/bear/99.bmp",
    ),
    "webp beside": (OWN, WHOLE | {"toy/train/bear/9.webp": b"?"}, "others: toy/train/bear/9.webp"),
    "no ending": (OWN, WHOLE | {"toy/test/wolf/0001": b"?"}, "others: toy/test/wolf/0001"),
    "no class": (OWN, WHOLE | {"toy/train/1.png": WHOLE[FIRST]}, "got 1 others: toy/train/1.png"),
    "too deep": (
        OWN,
        WHOLE | {"toy/train/bear/more/1.png": WHOLE[FIRST]},
        "got 1 others: toy/train/bear/more/1.png",
    ),
    "bmp alone": (
        OWN,
        folders(COLOUR, as_mode("RGB", "BMP"), "bmp"),
        r"got \[\] and \[\]; passed over 32 files: toy/test/bear/24.bmp, .* and 24 more",
    ),
    "an empty class": (OWN, WHOLE | {"toy/train/deer/": b""}, "no image in toy/train/deer"),
    "two roots": (
        TOY,
        WHOLE | folders(COLOUR, root="again/"),
        "one folder train/ .*got again/test, again/train, toy/test, toy/train",
    ),
    "two spellings": (
        OWN,
        WHOLE | {"toy/Train/bear/1.png": WHOLE[FIRST]},
        "one folder train/ .*got toy/Train, toy/test, toy/train",
    ),
    "another dataset beside": (
        TOY,
        WHOLE | folders(pictures(TRAIN + TEST), root="cifar100/"),
        "got cifar100/test, cifar100/train, toy/test, toy/train; keep those of one dataset",
    ),
    "another dataset instead": (
        TOY,
        folders(COLOUR, root="data/CIFAR-100/"),
        "expected images of toy, got the folder data/CIFAR-100",
    ),
    "twice by slashes": (
        TOY,
        WHOLE | {FIRST.replace("/", "\\"): WHOLE[FIRST]},
        f"more than once there: {FIRST}",
    ),
    "decompression bomb": (OWN, WHOLE | {FIRST: large(50_000)}, f"{FIRST} cannot be read as an"),
    "a large picture": (OWN, WHOLE | {FIRST: large(10_000)}, f"{FIRST} cannot be read as an"),
    "bomb of text": (OWN, folders(COLOUR, with_text_bomb), "cannot be read.*too large"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("form", ["archive", "folder"])
def test_class_folders_that_are_not_as_declared_are_refused(tmp_path, case, form):
    dataset, files, message = REFUSED[case]
    if form == "archive":
        place = write(tmp_path, {"toy.zip": zipped(files)}) / "toy.zip"
    else:
        place = tmp_path / "it"
        for name in [name for name in files if name.endswith("/")]:
            (place / name).mkdir(parents=True)
        write(place, {name: data for name, data in files.items() if not name.endswith("/")})
    with pytest.raises(ValueError, match=message) as caught:
        read_class_folders(place, dataset, others=["cifar100"])
    assert str(caught.value).startswith(str(place))


def read_archive(tmp_path, files, dataset=TOY):
    return read_class_folders(write(tmp_path, {"toy.zip": zipped(files)}) / "toy.zip", dataset)


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name,
        str.upper,
        lambda name: name.replace("/", "\\"),
        lambda name: f"./{name}",
        lambda name: f"a/train/{name}",
        lambda name: name.replace(".png", ".PNG").replace("train", "Train"),
    ],
    ids=["as is", "upper case", "backslashes", "dot", "deeper", "capital"],
)
def test_every_spelling_of_the_same_folders_gives_the_same_arrays(tmp_path, change):
    found = read_archive(tmp_path, {change(name): content for name, content in WHOLE.items()})
    order = [*range(0, TRAIN, 2), *range(1, TRAIN, 2)]
    np.testing.assert_array_equal(found["train_images"], COLOUR[:TRAIN][order], strict=True)
    np.testing.assert_array_equal(found["train_labels"], [0] * 12 + [1] * 12)
    np.testing.assert_array_equal(found["test_labels"], [0] * 4 + [1] * 4)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_an_archive_has_twice_is_refused(tmp_path):
    path = tmp_path / "toy.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in [*WHOLE.items(), (FIRST, WHOLE[SECOND])]:
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=f"toy.zip: more than once there: {FIRST}$"):
        read_class_folders(path, TOY)


def test_files_elsewhere_are_passed_over_aloud(tmp_path, caplog):
    more = [f"extra/{number:02d}.txt" for number in range(9)]
    hidden = ["__MACOSX/toy/train/bear/._00.png", "toy/train/bear/.DS_Store", "toy/train/Thumbs.db"]
    files = WHOLE | dict.fromkeys([*more, *hidden], b"no picture")
    expected, found = read_archive(tmp_path, WHOLE), read_archive(tmp_path, files)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert "toy.zip: passed over 12 files: __MACOSX/toy/train/bear/._00.png, " in caplog.text
    assert "extra/06.txt and 4 more" in caplog.text


def test_of_ones_own_dataset_what_is_found_is_taken_and_oddities_are_said(tmp_path, caplog):
    grey = COLOUR[:, :1].repeat(3, axis=1)
    found = read_archive(tmp_path, folders([*grey[:TRAIN], *grey[:TEST]]), OWN)
    assert found["train_images"].shape == (TRAIN, 3, 32, 32)
    assert "all images below train/ are grey, stored as colour" in caplog.text
    assert "8 of 8 images below test/ are copies of others" in caplog.text


@pytest.mark.parametrize("declared", [{"shape": (3, 8, 8)}, {"train": 25}, {"test": 7}])
def test_what_ones_own_dataset_declares_is_checked(tmp_path, declared):
    dataset = Dataset(**{**vars(OWN), **declared})
    with pytest.raises(ValueError, match=r"expected (every image as \(3, 8, 8\)|25 im|7 im)"):
        read_archive(tmp_path, WHOLE, dataset)


@pytest.mark.parametrize("cut", [1, 2, 10, 100, 400])
def test_a_jpeg_that_ends_early_is_refused(tmp_path, cut):
    files = folders(COLOUR, jpeg, "jpg")
    assert read_archive(tmp_path, files)["train_images"].shape == (TRAIN, 3, 32, 32)
    with pytest.raises(ValueError, match="bear/00.jpg cannot be read as an image"):
        read_archive(tmp_path, files | {"toy/train/bear/00.jpg": jpeg(COLOUR[0])[:-cut]})


def test_every_changed_byte_of_an_archived_picture_is_found(tmp_path):
    picture = jpeg(COLOUR[0])
    archive = zipped(folders(COLOUR, jpeg, "jpg"))
    for place in range(0, len(picture), 97):
        damaged = bytearray(picture)
        damaged[place] ^= 8  # most of these still decode
        write(tmp_path, {"toy.zip": archive.replace(picture, bytes(damaged))})
        with pytest.raises(ValueError, match="bear/00.jpg cannot be read as an image.*CRC-32"):
            read_class_folders(tmp_path / "toy.zip", TOY)


@pytest.mark.parametrize("sides", [(95, 96), (32, 32), (1, 1)])
def test_pictures_that_are_resized_have_the_published_size_first(tmp_path, sides):
    dataset = dataset_of("toy", "STL10", 2, (3, 32, 32), TRAIN, TEST)
    whole = folders(pictures(TRAIN + TEST, (3, 96, 96)))
    assert read_archive(tmp_path, whole, dataset)["test_images"].shape == (TEST, 3, 32, 32)
    other = whole | {"toy/train/wolf/01.png": png(pictures(1, (3, *sides))[0])}
    with pytest.raises(ValueError, match="expected sides of 96 to 96 pixels, got .*wolf/01.png"):
        read_archive(tmp_path, other, dataset)


def test_a_picture_of_three_gigabytes_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(class_folders, "LARGEST_FILE", 2**16)
    path = tmp_path / "toy.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in WHOLE.items():
            archive.writestr(name, bytes(2**17) if name == SECOND else content)
    with pytest.raises(ValueError, match=f"{SECOND} cannot be .*more than 65536 bytes"):
        read_class_folders(path, TOY)
    folder = write(tmp_path / "it", WHOLE)
    with (folder / SECOND).open("wb") as file:
        file.truncate(3_000_000_000)  # a hole, which takes no room on disk
    with pytest.raises(ValueError, match=f"{SECOND} cannot be .*more than 65536 bytes"):
        read_class_folders(folder, TOY)


def test_more_pictures_than_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(class_folders.os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 9}.get)
    with pytest.raises(ValueError, match="24 images of .* need .* GB, but this machine has"):
        read_archive(tmp_path, WHOLE)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_gives_its_arrays_or_a_sentence(tmp_path, method):
    path = tmp_path / "toy.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in WHOLE.items():
            archive.writestr(name, content)
    whole, expected = path.read_bytes(), read_class_folders(path, TOY)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[DRAW.integers(len(whole))] ^= 1 << DRAW.integers(8)
        path.write_bytes(damaged)
        try:
            found = read_class_folders(path, TOY)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert all(np.array_equal(found[name], expected[name]) for name in expected)


# What is not a regular file


def fifo(path):
    os.mkfifo(path)


def listening(path):
    # A socket's address has at most 108 characters
    with socket.socket(socket.AF_UNIX) as server:
        old = Path.cwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name)
        finally:
            os.chdir(old)


def device(path):
    path.symlink_to("/dev/zero")


def broken(path):
    path.symlink_to("nowhere")


SPECIAL = {
    fifo: "expected a regular file, found a pipe",
    listening: "expected a regular file, found a socket",
    device: "expected a regular file, found a device",
    broken: "is a link that leads nowhere",
}
RAW = {"toy/images.gz": b"images", "toy/labels": b"labels"}


@pytest.mark.parametrize("make", [*SPECIAL, os.mkdir])
@pytest.mark.parametrize("name", ["toy.zip", *RAW])
def test_what_is_not_a_regular_file_is_an_error_at_once(tmp_path, make, name):
    write(tmp_path, {path: content for path, content in RAW.items() if path != name})
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if name.endswith(".zip"):
        (tmp_path / "toy" / "labels").unlink()
    make(tmp_path / name)
    message = SPECIAL.get(make, "expected a regular file, found a folder")
    with pytest.raises(ValueError, match=f"{tmp_path / name}.* {message}|{name}:? {message}"):
        find(dataset_of("toy", "MNIST", official=RAW), tmp_path)


@pytest.mark.parametrize("make", SPECIAL)
def test_what_is_not_a_regular_file_in_a_folder_is_an_error_at_once(tmp_path, make):
    write(tmp_path / "toy", WHOLE)
    make(tmp_path / "toy" / "extra")
    for reader in (lambda: find(OWN, tmp_path), lambda: read_class_folders(tmp_path / "toy", OWN)):
        with pytest.raises(ValueError, match=f"{tmp_path}/toy/extra:? {SPECIAL[make]}"):
            reader()


def test_links_to_files_are_followed_and_links_to_folders_named(tmp_path):
    away = write(tmp_path / "away", WHOLE)
    for name in WHOLE:
        (tmp_path / "it" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "it" / name).symlink_to(away / name)
    (tmp_path / "link").symlink_to("it")
    expected = read_class_folders(away, OWN)
    for folder in ("it", "link"):
        found = read_class_folders(tmp_path / folder, OWN)
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    (tmp_path / "it" / "toy" / "train" / "deer").symlink_to(away)
    with pytest.raises(ValueError, match="train/deer is a link to a folder; put the folder itself"):
        read_class_folders(tmp_path / "it", OWN)


def test_reading_says_nothing_if_there_is_nothing_to_say(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        read_archive(tmp_path, WHOLE)
    assert not caplog.text
