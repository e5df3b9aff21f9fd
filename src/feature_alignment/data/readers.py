"""Checked raw files to arrays: images as (N, channels, height, width) bytes and their labels."""

import gzip
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from feature_alignment.data.class_folders import Arrays, read_class_folders, resized
from feature_alignment.data.registry import SOURCES, Dataset
from feature_alignment.data.sources import CLASS_FOLDERS, Located
from feature_alignment.storage import scratch_folder


def read(dataset: Dataset, located: Located, scratch: Path, others: Collection[str] = ()) -> Arrays:
    """Read a dataset from its checked raw files.

    STL-10 and GTSRB, whose images are larger or of varying size, are resized to 32 × 32
    (bilinear), as their users in these papers do.

    Args:
        dataset: The dataset.
        located: Its raw files, as :func:`feature_alignment.data.sources.locate` returns them.
        scratch: Folder with room to unpack archives.
        others: Names of other datasets, whose class folders are not this one's.

    Returns:
        ``train_images``, ``test_images``: uint8 (N, C, H, W); ``train_labels``,
        ``test_labels``: int64 (N,).

    Raises:
        ValueError: If class folders are malformed or not those of the dataset, or torchvision
            cannot read the files.
    """
    if located.edition == CLASS_FOLDERS:
        archive = located.root / located.files[0]["file"]
        return read_class_folders(archive, dataset, others)
    if dataset.source not in SOURCES:
        raise ValueError(
            f"no reader for torchvision's {dataset.source!r}; expected {', '.join(SOURCES)} in the "
            "column 'source' of datasets.csv"
        )
    with _torchvision_layout(located, scratch) as root:
        arrays: Arrays = {}
        for split in ("train", "test"):
            try:
                images, labels = _read_split(dataset.source, root, split)
            except (RuntimeError, AssertionError, LookupError, TypeError) as error:
                raise ValueError(
                    f"torchvision cannot read the files of {dataset.name} as {dataset.source}: "
                    f"{error}; compare the rows of datasets.csv with the original"
                ) from error
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
                _unpack(source, target.with_suffix(""))
            else:
                # Not located.root itself: torchvision prefers an unchecked MNIST/processed there
                target.symlink_to(source.resolve())
        yield folder


def _unpack(source: Path, target: Path) -> None:
    try:
        with gzip.open(source) as packed_file, target.open("wb") as plain:
            shutil.copyfileobj(packed_file, plain)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{source} is not one whole gzip file: {error}") from error


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
    part = datasets.GTSRB(root, split=split)
    return _resized(image for image, _ in part), [label for _, label in part._samples]


def _resized(images: Iterable[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(resized(image)) for image in images]).transpose(0, 3, 1, 2)
