"""Prepare one dataset: from raw files to one array file and a manifest."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from feature_alignment import command
from feature_alignment.data import stand_ins
from feature_alignment.data.readers import Arrays, read
from feature_alignment.data.registry import BUNDLED, LOCAL, Dataset, read_registry
from feature_alignment.data.sources import CLASS_FOLDERS, locate
from feature_alignment.storage import at_home, replacing, sha256, write_json

VARIABLE = "FEATURE_ALIGNMENT_DATA"

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare a dataset; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="name in the registry, or a stand-in")
    parser.add_argument("--registry", type=Path, required=True, help="data/datasets.csv")
    parser.add_argument("--data-dir", default="", help=f"raw data; empty means ${VARIABLE}")
    parser.add_argument("--raw", type=Path, required=True, help="folder for downloads")
    parser.add_argument("--mirror", help="download from this address instead of the official ones")
    parser.add_argument("--out", type=Path, required=True, help="array file (safetensors)")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest (JSON)")
    arguments = parser.parse_args(argv)

    given = arguments.data_dir or os.environ.get(VARIABLE) or None
    registry = read_registry(arguments.registry)
    if arguments.dataset in BUNDLED:
        arrays, identity = _bundled(arguments.dataset)
    elif arguments.dataset in registry:
        dataset = registry[arguments.dataset]
        located = locate(
            dataset, at_home(given) if given else None, arguments.raw, arguments.mirror
        )
        arrays = read(dataset, located, arguments.out.parent, {*registry} - {dataset.name})
        identity = _identity(dataset, located.edition, list(located.files))
        check_declared(arrays, dataset)
    else:
        known = ", ".join([*registry, *BUNDLED])
        raise ValueError(f"unknown dataset {arguments.dataset!r}; expected one of {known}")

    check(arrays, arguments.dataset)
    with replacing(arguments.out) as temporary:
        # save_file writes memory order and mislabels it unless the array is contiguous
        save_file({key: np.ascontiguousarray(x) for key, x in arrays.items()}, temporary)
    manifest = {"name": arguments.dataset, **identity, **summary(arrays)}
    write_json(arguments.manifest, {**manifest, "sha256": sha256(arguments.out)})
    log.info(
        "%s: %d training and %d test images of shape %s in %d classes",
        *(manifest[key] for key in ("name", "n_train", "n_test", "shape", "classes")),
    )


def _bundled(name: str) -> tuple[Arrays, dict]:
    arrays = {"digits": stand_ins.digits, "photo_patches": stand_ins.photo_patches}[name]()
    return arrays, {
        "origin": "bundled with scikit-learn",
        "note": "stand-in",
        "files": [],
        "licence": "BSD-3-Clause (scikit-learn's copy)",
        "citation": "https://scikit-learn.org/stable/datasets.html",
    }


def _identity(dataset: Dataset, edition: str, files: list[dict]) -> dict:
    return {
        "origin": edition,
        "note": "re-encoded copy" if edition == CLASS_FOLDERS and dataset.source != LOCAL else "",
        "files": files,
        "licence": dataset.licence,
        "citation": dataset.citation,
    }


def check(arrays: Arrays, name: str) -> None:
    """Check that images and labels fit together.

    Raises:
        ValueError: If counts or shapes differ, a split is empty, labels are not 0…C−1, or there
            is nothing to see: all pixels of a channel, or of every image, are the same.
    """
    for split in ("train", "test"):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if len(images) != len(labels) or not len(images):
            raise ValueError(f"{name}: {split}: {len(images)} images but {len(labels)} labels")
        if images.shape[1:] != arrays["train_images"].shape[1:]:
            raise ValueError(f"{name}: train and test images differ in shape")
        if (images.min(axis=(2, 3)) == images.max(axis=(2, 3))).all():
            raise ValueError(f"{name}: {split}: expected pictures, got {len(images)} plain areas")
    for channel in range(arrays["train_images"].shape[1]):
        values = arrays["train_images"][:, channel]
        if values.min() == values.max():
            raise ValueError(
                f"{name}: every training pixel of channel {channel} is {values.min()}; expected "
                "some that differ, since inputs are divided by their standard deviation"
            )
    labels = np.unique(arrays["train_labels"])
    if not np.array_equal(labels, np.arange(len(labels))):
        raise ValueError(f"{name}: expected labels 0…C-1, got {labels.tolist()}")
    if not np.isin(arrays["test_labels"], labels).all():
        raise ValueError(f"{name}: the test set has a label that the training set lacks")


def check_declared(arrays: Arrays, dataset: Dataset) -> None:
    """Check that there is what the dataset declares.

    Raises:
        ValueError: If the number of classes or images or the shape is another.
    """
    found = {
        "classes": len(np.unique(arrays["train_labels"])),
        "training images": len(arrays["train_images"]),
        "test images": len(arrays["test_images"]),
        "as the shape of an image": arrays["train_images"].shape[1:],
    }
    declared = (dataset.classes, dataset.train, dataset.test, dataset.shape)
    for (what, got), expected in zip(found.items(), declared, strict=True):
        if expected not in (None, got):
            raise ValueError(f"{dataset.name}: expected {expected} {what}, got {got}")


def summary(arrays: Arrays) -> dict:
    """Return sizes and the per-channel mean and standard deviation of training pixels in [0, 1]."""
    images = arrays["train_images"]
    values = np.arange(256)
    counts = np.stack(
        [np.bincount(images[:, c].ravel(), minlength=256) for c in range(images.shape[1])]
    )
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    variance = (share * (values - mean[:, None]) ** 2).sum(axis=1)
    return {
        "n_train": len(images),
        "n_test": len(arrays["test_images"]),
        "shape": list(images.shape[1:]),
        "classes": int(arrays["train_labels"].max()) + 1,
        "mean": (mean / 255).tolist(),
        "std": (np.sqrt(variance) / 255).tolist(),
    }


if __name__ == "__main__":
    command.run(main)
