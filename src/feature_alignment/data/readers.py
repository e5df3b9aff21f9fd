"""Checked raw files to arrays: images as (N, channels, height, width) bytes and their labels."""

import gzip
import io
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from feature_alignment.data.registry import Dataset
from feature_alignment.data.sources import CLASS_FOLDERS, Located
from feature_alignment.storage import scratch_folder

SIDE = 32
RESIZED = ("STL10", "GTSRB")
"""Sources whose images are larger, or of varying size."""

Arrays = dict[str, np.ndarray]
Content = Callable[[str], bytes]


def read(dataset: Dataset, located: Located, scratch: Path) -> Arrays:
    """Read a dataset from its checked raw files.

    STL-10 and GTSRB, whose images are larger or of varying size, are resized to 32 × 32
    (bilinear), as their users in these papers do.

    Args:
        dataset: The dataset.
        located: Its raw files, as :func:`feature_alignment.data.sources.locate` returns them.
        scratch: Folder with room to unpack archives.

    Returns:
        ``train_images``, ``test_images``: uint8 (N, C, H, W); ``train_labels``,
        ``test_labels``: int64 (N,).

    Raises:
        ValueError: If class folders are malformed; names the entry.
    """
    if located.edition == CLASS_FOLDERS:
        archive = located.root / located.files[0]["file"]
        return read_class_folders(archive, resize=dataset.source in RESIZED)
    with _torchvision_layout(located, scratch) as root:
        arrays: Arrays = {}
        for split in ("train", "test"):
            images, labels = _read_split(dataset.source, root, split)
            arrays[f"{split}_images"] = np.ascontiguousarray(images, dtype=np.uint8)
            arrays[f"{split}_labels"] = np.asarray(labels, dtype=np.int64)
    return arrays


@contextmanager
def _torchvision_layout(located: Located, scratch: Path) -> Iterator[Path]:
    """Yield a folder where torchvision finds the files unpacked."""
    with scratch_folder(scratch / "unpacked") as folder:
        for name in (file["file"] for file in located.files):
            source, target = located.root / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith((".tar.gz", ".zip")):
                shutil.unpack_archive(source, target.parent, **_tar_filter(name))
            elif name.endswith(".gz"):
                with gzip.open(source) as packed_file, target.with_suffix("").open("wb") as plain:
                    shutil.copyfileobj(packed_file, plain)
            else:
                # Not located.root itself: torchvision prefers an unchecked MNIST/processed there
                target.symlink_to(source.resolve())
        yield folder


def _tar_filter(name: str) -> dict[str, str]:
    return {"filter": "data"} if name.endswith(".tar.gz") else {}


def _read_split(source: str, root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    # Here and not above: it takes seconds and hundreds of MiB that the other readers need not pay.
    from torchvision import datasets

    if source in ("MNIST", "FashionMNIST", "KMNIST"):
        part = getattr(datasets, source)(root, train=split == "train")
        return part.data.numpy()[:, None], part.targets.numpy()
    if source in ("CIFAR10", "CIFAR100"):
        part = getattr(datasets, source)(root, train=split == "train")
        return part.data.transpose(0, 3, 1, 2), part.targets
    if source == "SVHN":
        part = datasets.SVHN(root, split=split)
        return part.data, part.labels
    if source == "STL10":
        part = datasets.STL10(root, split=split)
        return _resized(Image.fromarray(x.transpose(1, 2, 0)) for x in part.data), part.labels
    if source == "GTSRB":
        part = datasets.GTSRB(root, split=split)
        labels = [label for _, label in part._samples]
        return _resized(image for image, _ in part), labels
    raise ValueError(
        f"no reader for torchvision's {source!r}; expected MNIST, FashionMNIST, KMNIST, CIFAR10, "
        "CIFAR100, SVHN, STL10 or GTSRB in the column 'source' of datasets.csv"
    )


def _resized(images: Iterable[Image.Image]) -> np.ndarray:
    side = (SIDE, SIDE)
    pixels = [np.asarray(x.convert("RGB").resize(side, Image.Resampling.BILINEAR)) for x in images]
    return np.stack(pixels).transpose(0, 3, 1, 2)


_ENTRY = re.compile(
    r"(?!__MACOSX/)(?:.*/)?(?P<split>train|test)/(?P<name>[^/]+)/[^/]+\.(?:png|jpe?g)", re.I
)


def read_class_folders(archive: Path, *, resize: bool = False) -> Arrays:
    """Read a ZIP archive or a folder of ``…/train/<class>/*.{png,jpg}`` and ``…/test/<class>/*``.

    Classes are numbered in the order of their names, images taken in the order of theirs. Nothing
    is unpacked to disk.

    Args:
        archive: The archive, or the folder.
        resize: Whether to resize images to 32 × 32, as colour images.

    Raises:
        ValueError: If the archive is no ZIP file, an entry is no image, images differ in size,
            or the two splits do not have the same classes.
    """
    if archive.is_dir():
        names = [p.relative_to(archive).as_posix() for p in archive.rglob("*") if p.is_file()]
        return _read_entries(archive, lambda name: (archive / name).read_bytes(), names, resize)
    try:
        with zipfile.ZipFile(archive) as folder:
            return _read_entries(archive, folder.read, folder.namelist(), resize)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} is not a whole ZIP archive: {error}") from error


def _read_entries(archive: Path, content: Content, names: list[str], resize: bool) -> Arrays:
    entries = sorted(
        (match["split"].lower(), match["name"], name)
        for name in names
        if (match := _ENTRY.fullmatch(name))
    )
    classes = {
        split: sorted({name for part, name, _ in entries if part == split})
        for split in ("train", "test")
    }
    if not classes["train"] or classes["train"] != classes["test"]:
        raise ValueError(
            f"{archive}: expected the same class folders under train/ and test/, got "
            f"{classes['train']} and {classes['test']}"
        )
    arrays: Arrays = {}
    for split in ("train", "test"):
        selected = [(name, entry) for part, name, entry in entries if part == split]
        first = _read_image(archive, content, selected[0][1], resize)
        images = np.empty((len(selected), *first.shape), dtype=np.uint8)
        for row, (_, entry) in zip(images, selected, strict=True):
            image = _read_image(archive, content, entry, resize)
            if image.shape != first.shape:
                raise ValueError(
                    f"{archive}: expected every image as {first.shape}, got {image.shape} "
                    f"in {entry}"
                )
            row[...] = image
        arrays[f"{split}_images"] = images
        labels = [classes["train"].index(name) for name, _ in selected]
        arrays[f"{split}_labels"] = np.asarray(labels, dtype=np.int64)
    return arrays


def _read_image(archive: Path, content: Content, entry: str, resize: bool) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content(entry))) as image:
            if resize:
                return _resized([image])[0]
            pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{archive}: {entry} cannot be read as an image: {error}") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
