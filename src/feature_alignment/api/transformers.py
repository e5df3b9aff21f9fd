"""A callback for Hugging Face's Trainer: probes that measure while it trains.

pip install feature-alignment[transformers]
"""

from collections.abc import Sequence

from transformers import TrainerCallback

from feature_alignment.api.probe import Probe


class ProbeCallback(TrainerCallback):
    """Call probes before training and after every ``every_epochs`` epochs.

    A probe of a transformer takes a mapping of arguments and says what is measured, such as
    ``Probe(model, {"input_ids": ids, "attention_mask": mask}, labels, output=lambda f: f.logits)``.
    """

    def __init__(self, *probes: Probe, every_epochs: int = 1):
        """Take the probes.

        Args:
            *probes: Each with its own batch and table.
            every_epochs: Epochs between two measurements.

        Raises:
            ValueError: If there is no probe, or fewer than one epoch between measurements.
        """
        if not probes or every_epochs < 1:
            raise ValueError(
                f"expected a probe and every_epochs of at least 1, got {len(probes)} and "
                f"{every_epochs}"
            )
        self.probes: Sequence[Probe] = probes
        self.every_epochs = every_epochs

    def on_train_begin(self, args: object, state: object, control: object, **_: object) -> None:
        """Measure the model as it is before the first step."""
        self._measure(state, round(state.epoch or 0))

    def on_epoch_end(self, args: object, state: object, control: object, **_: object) -> None:
        """Measure after an epoch."""
        done = round(state.epoch)
        if done % self.every_epochs == 0:
            self._measure(state, done)

    def _measure(self, state: object, epoch: int) -> None:
        for probe in self.probes:
            probe(epoch=epoch, step=state.global_step)
