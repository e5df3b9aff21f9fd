import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import raw_files
from raw_files import REGISTRY, dataset_of, gz, png, write, write_registry, zipped
from safetensors.numpy import load_file

from feature_alignment.data import stand_ins
from feature_alignment.data.prepare import check, main, summary
from feature_alignment.data.registry import COLUMNS
from feature_alignment.storage import read_json, sha256

DRAW = np.random.default_rng(0)
LABELS = np.asarray([1, 0, 2, 0])
IMAGES = DRAW.integers(0, 256, (4, 1, 28, 28), dtype=np.uint8)
OFFICIAL = gz(raw_files.mnist("MNIST", (IMAGES, LABELS), (IMAGES[:3], LABELS[:3])))
MNIST = dataset_of("mnist", "MNIST", 3, (1, 28, 28), 4, 3, compressed=OFFICIAL)
ARCHIVE = {
    "mnist-png.zip": zipped(
        {
            f"{split}/{label}/{number}.png": png(image)
            for split, images in (("train", IMAGES), ("test", 255 - IMAGES[:3]))
            for number, (image, label) in enumerate(zip(images, LABELS, strict=False))
        }
    )
}


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("FEATURE_ALIGNMENT_DATA", raising=False)


def arguments(folder, name, *extra):
    registry = write_registry(folder / "datasets.csv", MNIST)
    paths = {
        "--registry": registry,
        "--raw": folder / "raw",
        "--out": folder / "out" / "toy.safetensors",
        "--manifest": folder / "out" / "toy.json",
    }
    options = [str(word) for pair in paths.items() for word in pair]
    return ["--dataset", name, *options, *map(str, extra)]


def prepare(folder, name, *extra):
    """Return the arrays, the manifest and the two files' bytes."""
    folder.mkdir(exist_ok=True)
    main(arguments(folder, name, *extra))
    paths = [folder / "out" / "toy.safetensors", folder / "out" / "toy.json"]
    assert sorted((folder / "out").iterdir()) == sorted(paths)
    return load_file(paths[0]), read_json(paths[1]), [path.read_bytes() for path in paths]


@pytest.mark.parametrize(
    "name, shape, n_train, n_test",
    [("digits", [1, 28, 28], 1400, 397), ("photo_patches", [3, 32, 32], 10_000, 4_000)],
)
def test_a_stand_in_needs_no_raw_data(tmp_path, name, shape, n_train, n_test):
    arrays, manifest, _ = prepare(tmp_path, name)
    expected = getattr(stand_ins, name)()
    for key, values in expected.items():
        np.testing.assert_array_equal(arrays[key], values, strict=True)
    assert arrays["train_images"].shape == (n_train, *shape)
    assert arrays["test_images"].shape == (n_test, *shape)
    assert np.unique(arrays["test_labels"]).tolist() == list(range(10))
    found = {key: manifest[key] for key in ("name", "shape", "n_train", "n_test", "classes")}
    assert found == {
        "name": name,
        "shape": shape,
        "n_train": n_train,
        "n_test": n_test,
        "classes": 10,
    }
    assert manifest["note"] == "stand-in"
    assert not (tmp_path / "raw").exists()


def test_photo_patches_lie_in_their_region_and_share_no_pixel(monkeypatch):
    # Photographs whose pixels spell photograph, row and column as 20 bits in three bytes
    photo, row, column = np.meshgrid(range(2), range(427), range(640), indexing="ij")
    place = photo << 19 | row << 10 | column
    photos = np.stack([place >> 16, place >> 8 & 255, place & 255], axis=-1).astype(np.uint8)
    monkeypatch.setattr(stand_ins, "load_sample_images", lambda: SimpleNamespace(images=photos))
    arrays = stand_ins.photo_patches()
    used = {}
    for split in ("train", "test"):
        high, middle, low = arrays[f"{split}_images"].astype(np.int32).swapaxes(0, 1)
        places = high << 16 | middle << 8 | low
        used[split] = np.bincount(places.ravel(), minlength=2**20) > 0
        labels = arrays[f"{split}_labels"][:, None, None]
        np.testing.assert_array_equal(places >> 19, np.broadcast_to(labels // 5, places.shape))
        columns = places & 1023
        np.testing.assert_array_equal(columns // 128, np.broadcast_to(labels % 5, places.shape))
        assert (np.diff(places, axis=2) == 1).all()
    assert not (used["train"] & used["test"]).any()
    # Two of seven bands are for testing; the rims that the stride leaves out are few
    assert used["test"].sum() == pytest.approx(2 / 7 * 2 * 427 * 640, rel=0.05)
    assert used["train"].sum() == pytest.approx(5 / 7 * 2 * 427 * 640, rel=0.05)


def test_digits_are_those_of_scikit_learn_in_their_order():
    arrays = stand_ins.digits()
    bunch = stand_ins.load_digits()
    labels = np.concatenate([arrays["train_labels"], arrays["test_labels"]])
    np.testing.assert_array_equal(labels, bunch.target)
    # Enlarged, an image keeps its mean brightness up to the weight of its rim
    images = np.concatenate([arrays["train_images"], arrays["test_images"]])
    means = images.mean((1, 2, 3)) / 255, bunch.images.mean((1, 2)) / 16
    np.testing.assert_allclose(*means, atol=0.01)


def test_official_files_give_their_arrays_and_identity(tmp_path):
    write(tmp_path / "raw", OFFICIAL)
    arrays, manifest, _ = prepare(tmp_path, "mnist")
    np.testing.assert_array_equal(arrays["train_images"], IMAGES)
    np.testing.assert_array_equal(arrays["train_labels"], LABELS)
    np.testing.assert_array_equal(arrays["test_images"], IMAGES[:3])
    assert manifest["origin"] == "compressed"
    assert manifest["note"] == ""
    assert manifest["files"] == [
        {"file": file.path, "sha256": file.sha256, "bytes": file.bytes} for file in MNIST.download
    ]
    assert (manifest["licence"], manifest["citation"]) == (MNIST.licence, MNIST.citation)
    assert manifest["sha256"] == sha256(tmp_path / "out" / "toy.safetensors")


def test_class_folders_are_noted_as_a_re_encoded_copy(tmp_path):
    archive = write(tmp_path / "given", ARCHIVE) / "mnist-png.zip"
    arrays, manifest, _ = prepare(tmp_path, "mnist", "--data-dir", tmp_path / "given")
    np.testing.assert_array_equal(arrays["train_labels"], sorted(LABELS))
    assert manifest["origin"] == "class folders"
    assert manifest["note"] == "re-encoded copy"
    assert [file["sha256"] for file in manifest["files"]] == [sha256(archive)]


FOLDERS = {
    f"{split}/{name}/{number}.png": png(image)
    for split, images in (("train", IMAGES), ("test", IMAGES[:2]))
    for name in ("disk", "square")
    for number, image in enumerate(images)
}


def prepare_local(folder, files, classes="2"):
    """Prepare a local dataset that lies in the downloads; return as ``prepare`` does."""
    write(folder / "raw", files)
    registry = folder / "own.csv"
    row = f"shapes,local,{classes},,,,,,,,,ours,drawn by hand"
    registry.write_text(f"{','.join(COLUMNS)}\n{row}\n", encoding="utf-8")
    return prepare(folder, "shapes", "--registry", registry)


def in_a_folder(files):
    return {f"shapes/{name}": content for name, content in files.items()}


def test_a_local_dataset_is_the_same_as_a_folder_and_as_an_archive(tmp_path):
    arrays, manifest, content = prepare_local(tmp_path / "folder", in_a_folder(FOLDERS))
    np.testing.assert_array_equal(arrays["train_images"], [*IMAGES, *IMAGES])
    assert arrays["train_labels"].tolist() == [0] * 4 + [1] * 4
    np.testing.assert_array_equal(arrays["test_images"], [*IMAGES[:2], *IMAGES[:2]])
    assert arrays["test_labels"].tolist() == [0, 0, 1, 1]
    assert (manifest["classes"], manifest["n_train"], manifest["n_test"]) == (2, 8, 4)
    assert (manifest["licence"], manifest["citation"]) == ("ours", "drawn by hand")
    assert manifest["note"] == ""  # its own original
    zipped_up = prepare_local(tmp_path / "archive", {"shapes.zip": zipped(FOLDERS)})
    assert content[0] == zipped_up[2][0]


def test_the_checksum_of_a_folder_covers_names_and_contents(tmp_path):
    def checksum(name, files):
        (file,) = prepare_local(tmp_path / name, in_a_folder(files))[1]["files"]
        assert file["bytes"] == sum(map(len, files.values()))
        return file["sha256"]

    moved = {name.replace("train/disk/3", "train/disk/9"): x for name, x in FOLDERS.items()}
    swapped = {**FOLDERS, "train/disk/0.png": FOLDERS["train/disk/1.png"]}
    assert checksum("a", FOLDERS) == checksum("b", dict(reversed(FOLDERS.items())))
    assert len({checksum("c", FOLDERS), checksum("d", moved), checksum("e", swapped)}) == 3


@pytest.mark.parametrize(
    "files, classes, message",
    [
        ({}, "2", "cannot find the local dataset shapes .*shapes.zip or a folder shapes"),
        (
            {**in_a_folder(FOLDERS), "shapes.zip": b""},
            "2",
            "several archives of shapes: .*keep one",
        ),
        (in_a_folder(FOLDERS), "3", "shapes: expected 3 classes, got 2"),
        (
            in_a_folder(FOLDERS),
            "two",
            r"line 2: shapes: malformed row: expected a number as classes of shapes, got 'two'",
        ),
        ({"shapes/readme": b""}, "2", "expected the same class folders under train/ and test/"),
        (in_a_folder({**FOLDERS, "train/disk/0.png": b"?"}), "2", "disk/0.png cannot be read"),
    ],
)
def test_a_malformed_local_dataset_is_an_error(tmp_path, files, classes, message):
    with pytest.raises(ValueError, match=message):
        prepare_local(tmp_path, files, classes)
    assert not list(tmp_path.glob("out/*"))


def test_the_variable_names_the_data_folder_and_the_option_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATURE_ALIGNMENT_DATA", str(write(tmp_path / "variable", OFFICIAL)))
    given = write(tmp_path / "option", ARCHIVE)
    assert prepare(tmp_path / "a", "mnist")[1]["origin"] == "compressed"
    assert prepare(tmp_path / "b", "mnist", "--data-dir", "")[1]["origin"] == "compressed"
    assert prepare(tmp_path / "c", "mnist", "--data-dir", given)[1]["origin"] == "class folders"


@pytest.mark.parametrize("name", ["mnist", "digits"])
def test_the_same_input_gives_the_same_bytes(tmp_path, name):
    given = write(tmp_path / "given", OFFICIAL)
    first, second = (prepare(tmp_path / x, name, "--data-dir", given)[2] for x in "ab")
    assert first == second


@pytest.mark.parametrize("name", ["digits", "photo_patches"])
def test_mean_and_deviation_are_those_of_the_training_pixels(name):
    arrays = getattr(stand_ins, name)()
    found, pixels = summary(arrays), arrays["train_images"] / 255
    # 1e-9: numpy adds up to 10⁷ float64 values one after the other
    np.testing.assert_allclose(found["mean"], pixels.mean((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(found["std"], pixels.std((0, 2, 3)), rtol=1e-9)


def test_an_unknown_dataset_is_an_error_that_lists_the_known(tmp_path):
    names = "mnist, fashion_mnist.*gtsrb, digits, photo_patches"
    with pytest.raises(ValueError, match=f"unknown dataset 'minst'; expected one of {names}"):
        main([*arguments(tmp_path, "minst"), "--registry", str(REGISTRY)])


def damaged(folder):
    name, content = list(OFFICIAL.items())[-1]
    return write(folder, {**OFFICIAL, name: content[:-1] + b"?"})


def test_a_damaged_file_leaves_no_output(tmp_path):
    damaged(tmp_path / "raw")
    with pytest.raises(ValueError, match="wrong checksum"):
        main(arguments(tmp_path, "mnist"))
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_leaves_an_earlier_output_alone(tmp_path):
    _, _, before = prepare(tmp_path, "mnist", "--data-dir", write(tmp_path / "good", OFFICIAL))
    with pytest.raises(ValueError, match="wrong checksum"):
        main(arguments(tmp_path, "mnist", "--data-dir", damaged(tmp_path / "bad")))
    paths = [tmp_path / "out" / "toy.safetensors", tmp_path / "out" / "toy.json"]
    assert [path.read_bytes() for path in paths] == before


def test_as_a_program_it_ends_with_a_message_and_no_traceback(tmp_path):
    damaged(tmp_path / "raw")
    source = str(REGISTRY.parents[1] / "src")
    done = subprocess.run(
        [sys.executable, "-m", "feature_alignment.data.prepare", *arguments(tmp_path, "mnist")],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: wrong checksum of ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"test_labels": LABELS[:2]}, "toy: test: 3 images but 2 labels"),
        ({"test_images": IMAGES[:0], "test_labels": LABELS[:0]}, "toy: test: 0 images"),
        ({"test_images": IMAGES[:3, :, 1:]}, "toy: train and test images differ in shape"),
        ({"train_labels": LABELS + 1}, r"toy: expected labels 0…C-1, got \[1, 2, 3\]"),
        ({"test_labels": LABELS[:3] + 1}, "toy: the test set has a label"),
        ({"train_images": IMAGES * 0}, "toy: train: expected pictures, got 4 plain areas"),
        ({"test_images": IMAGES[:3] * 0 + 9}, "toy: test: expected pictures, got 3 plain areas"),
        (
            {
                "train_images": np.concatenate([IMAGES, IMAGES * 0 + 7], axis=1),
                "test_images": np.concatenate([IMAGES[:3], IMAGES[:3]], axis=1),
            },
            "toy: every training pixel of channel 1 is 7; expected some that differ",
        ),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(changes, message):
    arrays = {
        "train_images": IMAGES,
        "train_labels": LABELS,
        "test_images": IMAGES[:3],
        "test_labels": LABELS[:3],
    }
    check(arrays, "toy")
    with pytest.raises(ValueError, match=message):
        check(arrays | changes, "toy")


@pytest.mark.parametrize(
    "declared, message",
    [
        ({"classes": 4}, "mnist: expected 4 classes, got 3"),
        ({"train": 5}, "mnist: expected 5 training images, got 4"),
        ({"test": 4}, "mnist: expected 4 test images, got 3"),
        ({"shape": (1, 28, 29)}, r"mnist: expected \(1, 28, 29\) as the shape of an image, got"),
    ],
)
def test_raw_files_hold_what_the_registry_declares(tmp_path, declared, message):
    write(tmp_path / "raw", OFFICIAL)
    registry = write_registry(tmp_path / "other.csv", replace(MNIST, **declared))
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, "mnist", "--registry", registry)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_packed_and_unpacked_raw_files_give_the_arrays_of_one_kind(tmp_path):
    whole = raw_files.mnist("MNIST", (IMAGES, LABELS), (IMAGES[:3], LABELS[:3]))
    dataset = replace(MNIST, editions={**MNIST.editions, **dataset_of("", "", p=whole).editions})
    registry = write_registry(tmp_path / "other.csv", dataset)
    packed, *unpacked = OFFICIAL
    mixture = {packed: OFFICIAL[packed]}
    mixture |= {path.removesuffix(".gz"): whole[path.removesuffix(".gz")] for path in unpacked}
    write(tmp_path / "raw", OFFICIAL)
    expected = prepare(tmp_path, "mnist")[2][0]
    write(tmp_path / "mixed" / "raw", mixture)
    _, manifest, content = prepare(tmp_path / "mixed", "mnist", "--registry", registry)
    assert content[0] == expected
    assert [file["file"] for file in manifest["files"]] == list(mixture)


def test_a_local_dataset_says_what_was_found(tmp_path, caplog):
    with caplog.at_level("INFO"):
        _, manifest, _ = prepare_local(tmp_path, in_a_folder({**FOLDERS, "notes.txt": b"mine"}))
    assert "8 training and 4 test images of shape [1, 28, 28] in 2 classes" in caplog.text
    assert "passed over 1 files: notes.txt" in caplog.text
    assert (manifest["shape"], manifest["n_train"], manifest["n_test"]) == ([1, 28, 28], 8, 4)
