"""Archives and folders of images by class, ``train/<class>/*.png``: read whole or refused.

Nothing is lost and nothing converted: below ``train`` and ``test`` everything is read, and an
image is 8-bit grey or 8-bit colour.
"""

import hashlib
import io
import logging
import math
import os
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from PIL import Image

from feature_alignment.data.registry import LOCAL, Dataset
from feature_alignment.data.sources import listed, walk

Arrays = dict[str, np.ndarray]
Content = Callable[[str], bytes]
Parts = tuple[str, ...]

SIDE = 32
RESIZED = {"STL10": (96, 96), "GTSRB": (15, 500)}
"""Sources whose images are larger or of varying size, and how long their sides may be."""
SPLITS = ("train", "test")
LARGEST_FILE = 2**26
"""The most bytes that a file of one image may have."""
CHANNELS = {"L": 1, "RGB": 3}
"""How many channels the image modes have that are read: 8-bit grey and 8-bit colour."""
MOST_COPIES = 0.1
"""The largest share of a published split that may be copies; a few are in most of them."""
LEAST_SHARE = 0.1
"""The smallest class of a published dataset has at least this share of the mean class size."""

_IMAGE = re.compile(r".+\.(png|jpe?g)", re.I)
_CLUTTER = re.compile(r"\..*|thumbs\.db|desktop\.ini", re.I)

log = logging.getLogger(__name__)


def read_class_folders(
    archive: Path, dataset: Dataset | None = None, others: Collection[str] = ()
) -> Arrays:
    """Read a ZIP archive or a folder of ``…/train/<class>/*.{png,jpg}`` and ``…/test/<class>/*``.

    Classes are numbered in the order of their names, images taken in the order of theirs. Nothing
    is unpacked to disk. Names made with backslashes are read as if they had slashes.

    What lies elsewhere than below ``train`` and ``test``, and hidden files, are passed over; a
    warning counts and names them.

    Args:
        archive: The archive, or the folder.
        dataset: What it should hold. STL-10 and GTSRB are resized to 32 × 32. If ``None``, or of
            a dataset of one's own that declares nothing, what is found is taken.
        others: Names of other datasets; a folder of such a name is refused.

    Raises:
        ValueError: If the archive is not a ZIP file; if the folders are not one ``train`` and one
            ``test`` with the same classes; if something below them is not an image as it should
            be, there twice or unreadable; or if numbers of classes or images, shape or mode are
            not those of the dataset. Names the entry.
    """
    with _opened(archive) as (names, content):
        classes, entries = _arrange(archive, names, dataset, others)
        arrays: Arrays = {}
        shape = dataset.shape if dataset else None
        for split in SPLITS:
            selected = [(name, entry) for part, name, entry in entries if part == split]
            images = _read_images(archive, content, [x for _, x in selected], dataset, shape)
            shape = images.shape[1:]
            arrays[f"{split}_images"] = images
            labels = [classes.index(name) for name, _ in selected]
            arrays[f"{split}_labels"] = np.asarray(labels, dtype=np.int64)
    _question(archive, arrays, published=_is_published(dataset))
    return arrays


def _is_published(dataset: Dataset | None) -> bool:
    return dataset is not None and dataset.source != LOCAL


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[list[str], Content]]:
    """Yield the names of all files and folders, those of folders with a slash at the end."""
    if archive.is_dir():
        names = [f"{p.relative_to(archive).as_posix()}{'/' * p.is_dir()}" for p in walk(archive)]
        yield names, lambda name: _start((archive / name).open("rb"))
        return
    try:
        opened = zipfile.ZipFile(archive)
    except Exception as error:  # of many kinds, if the directory is damaged
        raise ValueError(f"{archive} is not a whole ZIP archive: {error}") from error
    with opened:
        yield opened.namelist(), lambda name: _start(opened.open(name))


def _start(file: BinaryIO) -> bytes:
    with file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"it has more than {LARGEST_FILE} bytes")
    return content


def _arrange(
    archive: Path, names: Sequence[str], dataset: Dataset | None, others: Collection[str]
) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Return the names of the classes, and (split, class, entry) of every image in order."""
    parts = {name: PurePosixPath(name.replace("\\", "/")).parts or ("",) for name in names}
    folders = {parts[name] for name in names if name.endswith(("/", "\\"))}
    files = [name for name in names if not name.endswith(("/", "\\"))]
    twice = [name for name, number in Counter(parts[name] for name in files).items() if number > 1]
    if twice:
        raise ValueError(f"{archive}: more than once there: {listed(map('/'.join, twice))}")

    images = {
        name
        for name in files
        if not _is_hidden(parts[name])
        and len(parts[name]) > 2
        and parts[name][-3].lower() in SPLITS
        and _IMAGE.fullmatch(parts[name][-1])
    }
    rest = sorted(set(files) - images)
    passed = f"; passed over {len(rest)} files: {listed(rest)}" if rest else ""
    tops = {parts[name][:-2] for name in images}
    if len({top[:-1] for top in tops}) > 1 or len(tops) > len(SPLITS):
        raise ValueError(
            f"{archive}: expected one folder train/ and one folder test/ next to it, got "
            f"{listed(sorted('/'.join(top) for top in tops))}; keep those of one dataset"
        )
    entries = sorted((parts[name][-3].lower(), parts[name][-2], name) for name in images)
    by_split = {split: sorted({c for part, c, _ in entries if part == split}) for split in SPLITS}
    classes = by_split["train"]
    if not classes or classes != by_split["test"]:
        raise ValueError(
            f"{archive}: expected the same class folders under train/ and test/, got "
            f"{classes} and {by_split['test']}{passed}"
        )
    full = {parts[name][:-1] for name in images}
    _refuse_lost(archive, tops, [parts[name] for name in rest], folders - full)
    if dataset:
        _check_numbers(archive, dataset, entries, passed)
    if _is_published(dataset):
        _check_names(archive, dataset, next(iter(tops))[:-1], others)
    if rest:
        log.warning("%s: passed over %d files: %s", archive, len(rest), listed(rest))
    return classes, entries


def _refuse_lost(
    archive: Path, tops: Collection[Parts], files: Sequence[Parts], folders: Collection[Parts]
) -> None:
    """Refuse other files below ``train`` and ``test``, and folders of classes without images."""
    others = [x for x in files if not _is_hidden(x) and any(x[: len(t)] == t for t in tops)]
    if others:
        raise ValueError(
            f"{archive}: expected .png and .jpg images alone in train/<class>/ and test/<class>/, "
            f"got {len(others)} others: {listed(map('/'.join, others))}; convert or remove them"
        )
    empty = sorted("/".join(x) for x in folders if x[:-1] in tops and not _is_hidden(x))
    if empty:
        raise ValueError(f"{archive}: no image in {listed(empty)}; fill or remove it")


def _check_names(archive: Path, dataset: Dataset, root: Parts, others: Collection[str]) -> None:
    """Refuse folders above ``train`` and ``test`` that have the name of another dataset."""
    foreign = {_letters(part) for part in root} & {_letters(other) for other in others}
    if foreign - {_letters(dataset.name)}:
        raise ValueError(
            f"{archive}: expected images of {dataset.name}, got the folder {'/'.join(root)}, "
            "which has the name of another dataset"
        )


def _is_hidden(parts: Parts) -> bool:
    return parts[0] == "__MACOSX" or any(_CLUTTER.fullmatch(part) for part in parts)


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _check_numbers(
    archive: Path, dataset: Dataset, entries: Sequence[tuple[str, str, str]], passed: str
) -> None:
    sizes = Counter((split, name) for split, name, _ in entries)
    classes = len({name for _, name in sizes})
    if classes != dataset.classes:
        raise ValueError(
            f"{archive}: {dataset.name}: expected {dataset.classes} classes, got {classes}{passed}"
        )
    for split, count in dataset.counts.items():
        found = {name: size for (part, name), size in sizes.items() if part == split}
        total, smallest = sum(found.values()), min(found, key=found.get)
        if count not in (None, total):
            raise ValueError(
                f"{archive}: {dataset.name}: expected {count} images below {split}/, got {total}"
                f"{passed}"
            )
        if dataset.source != LOCAL and found[smallest] < LEAST_SHARE * total / classes:
            raise ValueError(
                f"{archive}: {dataset.name}: expected about {total // classes} images in each "
                f"class, got {found[smallest]} in {split}/{smallest}"
            )


def _read_images(
    archive: Path,
    content: Content,
    entries: Sequence[str],
    dataset: Dataset | None,
    shape: tuple[int, ...] | None,
) -> np.ndarray:
    """Return the images (N, channels, height, width); without a shape, the first one's."""
    sides = RESIZED.get(dataset.source) if dataset else None
    if sides:
        shape = (3, SIDE, SIDE)
    images = None
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for number, entry in enumerate(entries):
            with _named(archive, entry, "cannot be read as an image"):
                file = _open(content(entry))
            with file as image:
                with _named(archive, entry, "would not be read exactly"):
                    _refuse_inexact(image)
                found = (CHANNELS[image.mode], image.height, image.width)
                shape = shape or found
                if sides and not all(sides[0] <= side <= sides[1] for side in found[1:]):
                    raise ValueError(
                        f"{archive}: expected sides of {sides[0]} to {sides[1]} pixels, got "
                        f"{found} in {entry}"
                    )
                if found[0] != shape[0] or (not sides and found != shape):
                    raise ValueError(
                        f"{archive}: expected every image as {shape}, got {found} in {entry}"
                    )
                if images is None:
                    images = _room(archive, (len(entries), *shape))
                with _named(archive, entry, "cannot be read as an image"):
                    pixels = np.asarray(resized(image) if sides else image)
            images[number] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return images


def _open(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    if image.format != "PNG" and b"\xff\xd9" not in content:  # the decoder finds other cuts
        raise ValueError("it is truncated: its end is missing")
    return image


@contextmanager
def _named(archive: Path, entry: str, problem: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # decoders raise many kinds about damaged bytes
        raise ValueError(f"{archive}: {entry} {problem}: {error}") from error


def _refuse_inexact(image: Image.Image) -> None:
    """Refuse an image whose pixels the reader would change, before any of them is decoded.

    Raises:
        ValueError: Unless it is one still image, 8-bit grey or 8-bit colour, without transparency.
    """
    if image.mode not in CHANNELS:
        found = f"the mode {image.mode}"
    elif any("16" in str(tile[3]) for tile in image.tile):  # cut to 8 bits, of which mode is silent
        found = "16 bits"
    elif "transparency" in image.info:
        found = "a transparent colour"
    elif getattr(image, "n_frames", 1) > 1:
        found = f"{image.n_frames} frames"
    else:
        return
    raise ValueError(
        f"expected 8-bit grey (mode L) or 8-bit colour (mode RGB) without transparency, got {found}"
        "; convert it as you see fit"
    )


def resized(image: Image.Image) -> Image.Image:
    """Return the image as :data:`SIDE` × :data:`SIDE` pixels in colour (bilinear)."""
    return image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def _room(archive: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array for the images, if the machine has room for it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if math.prod(shape) > memory:
        raise ValueError(
            f"{archive}: {shape[0]} images of {shape[1:]} need {math.prod(shape) / 1e9:.0f} GB, "
            f"but this machine has {memory / 1e9:.0f}; make them smaller"
        )
    return np.empty(shape, dtype=np.uint8)


def _question(archive: Path, arrays: Arrays, *, published: bool) -> None:
    """Look for images that are not what they seem; an error if published, else a warning."""
    found = []
    seen: set[bytes] = set()
    for split in SPLITS:
        images = arrays[f"{split}_images"]
        if images.shape[1] == 3 and all((images[:, c] == images[:, 0]).all() for c in (1, 2)):
            found.append(f"all images below {split}/ are grey, stored as colour")
        digests = [hashlib.blake2b(image, digest_size=16).digest() for image in images]
        copies = len(digests) - len(set(digests) - seen)
        if copies > (MOST_COPIES * len(digests) if published else 0):
            found.append(f"{copies} of {len(digests)} images below {split}/ are copies of others")
        seen.update(digests)
    if found and published:
        raise ValueError(f"{archive}: these are not the published images: {'; '.join(found)}")
    for problem in found:
        log.warning("%s: %s", archive, problem)
