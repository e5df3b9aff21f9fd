"""Random crops and flips of a run's training images."""

from torch import Tensor

from feature_alignment.data.augmentation import crop_and_flip
from feature_alignment.run.context import Run
from feature_alignment.training.loop import Augmentation


def crops_and_flips(run: Run) -> Augmentation:
    """Return what crops and flips a batch at random, anew at every step of the run."""

    def augment(images: Tensor, step: int) -> Tensor:
        return crop_and_flip(images, run.generator("augmentation", step))

    return augment
