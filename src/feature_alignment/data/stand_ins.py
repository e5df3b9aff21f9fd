"""Small image tasks bundled with scikit-learn, for runs that download nothing."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from feature_alignment.data.class_folders import Arrays

_STRIPS_PER_PHOTO = 5
_BANDS = 7
_TEST_BANDS = (1, 4)
_STRIDE = 4
_PATCH = 32


def digits() -> Arrays:
    """Return the 1 797 handwritten digits of UCI, enlarged from 8 × 8 to 28 × 28 (bilinear).

    The last 397, written by other people than most of the first 1 400, are the test set.

    Returns:
        ``train_images`` (1400, 1, 28, 28), ``test_images`` (397, 1, 28, 28): uint8;
        ``train_labels``, ``test_labels``: int64.
    """
    bunch = load_digits()
    small = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    size, method = (28, 28), Image.Resampling.BILINEAR
    images = np.stack([np.asarray(Image.fromarray(x).resize(size, method)) for x in small])[:, None]
    labels = bunch.target.astype(np.int64)
    return {
        "train_images": images[:1400],
        "train_labels": labels[:1400],
        "test_images": images[1400:],
        "test_labels": labels[1400:],
    }


def photo_patches() -> Arrays:
    """Return 32 × 32 patches of two photographs; the class is the region a patch is cut from.

    Each of the two sample photographs is cut into five vertical strips, which are the ten
    classes. A strip is cut into seven horizontal bands, of which the second and the fifth hold
    the test patches; no pixel is in both splits.

    Returns:
        ``train_images`` (N, 3, 32, 32), ``test_images``: uint8; ``train_labels``,
        ``test_labels``: int64.
    """
    patches: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for number, photo in enumerate(load_sample_images().images):
        height, width = photo.shape[0] // _BANDS, photo.shape[1] // _STRIPS_PER_PHOTO
        for strip in range(_STRIPS_PER_PHOTO):
            for band in range(_BANDS):
                split = "test" if band in _TEST_BANDS else "train"
                for top in range(band * height, (band + 1) * height - _PATCH + 1, _STRIDE):
                    for left in range(strip * width, (strip + 1) * width - _PATCH + 1, _STRIDE):
                        patch = photo[top : top + _PATCH, left : left + _PATCH]
                        patches[split].append(patch.transpose(2, 0, 1))
                        labels[split].append(number * _STRIPS_PER_PHOTO + strip)
    return {
        "train_images": np.stack(patches["train"]),
        "train_labels": np.asarray(labels["train"], dtype=np.int64),
        "test_images": np.stack(patches["test"]),
        "test_labels": np.asarray(labels["test"], dtype=np.int64),
    }
