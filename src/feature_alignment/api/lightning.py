"""A callback for Lightning: probes that measure while a Trainer trains.

pip install feature-alignment[lightning]
"""

from collections.abc import Sequence

try:
    from lightning.pytorch.callbacks import Callback
except ModuleNotFoundError:
    from pytorch_lightning.callbacks import Callback

from feature_alignment.api.probe import Probe


class ProbeCallback(Callback):
    """Call probes before training and after every ``every_epochs`` epochs.

    A probe's model is the LightningModule, or a module inside it.
    """

    def __init__(self, *probes: Probe, every_epochs: int = 1):
        """Take the probes.

        Args:
            *probes: Each with its own batch and table.
            every_epochs: Epochs between two measurements.

        Raises:
            ValueError: If there is no probe, or fewer than one epoch between measurements.
        """
        super().__init__()
        if not probes or every_epochs < 1:
            raise ValueError(
                f"expected a probe and every_epochs of at least 1, got {len(probes)} and "
                f"{every_epochs}"
            )
        self.probes: Sequence[Probe] = probes
        self.every_epochs = every_epochs

    def on_train_start(self, trainer: object, pl_module: object) -> None:
        """Measure the model as it is before the first step."""
        del pl_module
        self._measure(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: object, pl_module: object) -> None:
        """Measure after an epoch."""
        del pl_module
        done = trainer.current_epoch + 1
        if done % self.every_epochs == 0:
            self._measure(trainer, done)

    def _measure(self, trainer: object, epoch: int) -> None:
        for probe in self.probes:
            probe(epoch=epoch, step=trainer.global_step)
