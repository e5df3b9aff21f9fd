"""Tiny raw files in the layouts and formats of the official ones, as {path: content}.

Each format is written from its publisher's description, not from torchvision's reader.
"""

import csv
import gzip
import hashlib
import io
import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from feature_alignment.data.registry import COLUMNS, Dataset, RawFile

REGISTRY = Path(__file__).resolve().parents[2] / "data" / "datasets.csv"
Files = dict[str, bytes]


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def dataset_of(
    name: str,
    source: str,
    classes: int = 10,
    shape: tuple[int, ...] | None = None,
    train: int | None = None,
    test: int | None = None,
    **editions: Files,
) -> Dataset:
    """Return the dataset whose official files are these; nobody serves their addresses."""
    frozen = {
        edition: tuple(
            RawFile(path, hashlib.sha256(data).hexdigest(), len(data), f"http://0.0.0.0:1/{path}")
            for path, data in files.items()
        )
        for edition, files in editions.items()
    }
    return Dataset(name, source, classes, shape, train, test, "a licence", "a citation", frozen)


def write_registry(path: Path, dataset: Dataset, **changes: str) -> Path:
    """Write the dataset as a registry with some columns changed."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for edition, files in dataset.editions.items():
            for raw in files:
                row = {**vars(dataset), **vars(raw), "edition": edition, "file": raw.path}
                row["shape"] = "x".join(map(str, dataset.shape))
                writer.writerow({column: row[column] for column in COLUMNS} | changes)
    return path


def gz(files: Files) -> Files:
    return {f"{path}.gz": gzip.compress(content) for path, content in files.items()}


def tar_gz(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def png(image: np.ndarray) -> bytes:
    """Encode (1 or 3, height, width) bytes."""
    buffer = io.BytesIO()
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def idx(array: np.ndarray) -> bytes:
    """Magic number 0, 0, 8 (unsigned byte), dimensions; big-endian sizes; row-major bytes."""
    sizes = np.asarray(array.shape, dtype=">i4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def mnist(source: str, train: tuple, test: tuple) -> Files:
    files = {}
    for split, (images, labels) in (("train", train), ("t10k", test)):
        files[f"{source}/raw/{split}-images-idx3-ubyte"] = idx(images[:, 0])
        files[f"{source}/raw/{split}-labels-idx1-ubyte"] = idx(labels)
    return files


def _batch(images: np.ndarray, labels: np.ndarray, key: str) -> bytes:
    """Rows of 1024 red, 1024 green and 1024 blue bytes, each row-major."""
    rows = images.reshape(len(images), 3 * 32 * 32)
    return pickle.dumps({"data": rows, key: labels.tolist()}, protocol=2)


def cifar10(train: tuple, test: tuple) -> Files:
    folder = "cifar-10-batches-py"
    batches = zip(np.array_split(train[0], 5), np.array_split(train[1], 5), strict=True)
    files = {
        f"{folder}/data_batch_{number}": _batch(*batch, "labels")
        for number, batch in enumerate(batches, start=1)
    }
    meta = pickle.dumps({"label_names": list("0123456789")}, protocol=2)
    return {
        **files,
        f"{folder}/test_batch": _batch(*test, "labels"),
        f"{folder}/batches.meta": meta,
    }


def cifar100(train: tuple, test: tuple) -> Files:
    meta = pickle.dumps({"fine_label_names": [str(n) for n in range(100)]}, protocol=2)
    return {
        "cifar-100-python/train": _batch(*train, "fine_labels"),
        "cifar-100-python/test": _batch(*test, "fine_labels"),
        "cifar-100-python/meta": meta,
    }


def svhn(train: tuple, test: tuple) -> Files:
    """X is (height, width, channel, number); the digit 0 has the label 10."""
    files = {}
    for split, (images, labels) in (("train", train), ("test", test)):
        buffer = io.BytesIO()
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(buffer, {"X": images.transpose(2, 3, 1, 0), "y": y})
        files[f"{split}_32x32.mat"] = buffer.getvalue()
    return files


def stl10(train: tuple, test: tuple) -> Files:
    """Red, green and blue planes of 96 × 96, each column by column; labels 1…10."""
    files = {"stl10_binary/unlabeled_X.bin": b""}
    for split, (images, labels) in (("train", train), ("test", test)):
        by_column = np.stack(images).transpose(0, 1, 3, 2)
        files[f"stl10_binary/{split}_X.bin"] = by_column.tobytes()
        files[f"stl10_binary/{split}_y.bin"] = (labels + 1).astype(np.uint8).tobytes()
    return {"stl10_binary.tar.gz": tar_gz(files)}


def _ppm(image: np.ndarray) -> bytes:
    height, width = image.shape[1:]
    return f"P6\n{width} {height}\n255\n".encode() + image.transpose(1, 2, 0).tobytes()


def gtsrb(train: tuple, test: tuple) -> Files:
    """Training images in a folder per class; test labels in a table of their own."""
    training = {
        f"GTSRB/Training/{label:05d}/00000_{number:05d}.ppm": _ppm(image)
        for number, (image, label) in enumerate(zip(*train, strict=True))
    }
    final = {
        f"GTSRB/Final_Test/Images/{number:05d}.ppm": _ppm(image)
        for number, image in enumerate(test[0])
    }
    lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for number, (image, label) in enumerate(zip(*test, strict=True)):
        height, width = image.shape[1:]
        lines.append(f"{number:05d}.ppm;{width};{height};5;5;20;20;{label}")
    table = "\r\n".join(lines).encode()
    return {
        "gtsrb/GTSRB-Training_fixed.zip": zipped(training),
        "gtsrb/GTSRB_Final_Test_Images.zip": zipped(final),
        "gtsrb/GTSRB_Final_Test_GT.zip": zipped({"GT-final_test.csv": table}),
    }
