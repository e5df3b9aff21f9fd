"""Probes that measure while a Trainer of another library trains, with that library."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import feature_alignment as fa

REASON = "needs pip install feature-alignment[{}]"


def task():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(24, 6, generator=draw)
    return x, (x[:, 0] > 0).long()


def test_lightning_calls_probes_before_training_and_after_epochs(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning = pytest.importorskip("lightning.pytorch", reason=REASON.format("lightning"))
        from feature_alignment.api.lightning import ProbeCallback

        class Classifier(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.network = nn.Sequential(
                    nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2)
                )

            def forward(self, x):
                return self.network(x)

            def training_step(self, batch, _):
                x, y = batch
                return F.cross_entropy(self(x), y)

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), 0.1)

        torch.manual_seed(0)
        model, (x, y) = Classifier(), task()
        whole, inner = fa.Probe(model, x, y), fa.Probe(model.network, x, y, ["alignment"])
        trainer = lightning.Trainer(
            max_epochs=4,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=[ProbeCallback(whole, inner, every_epochs=2)],
        )
        trainer.fit(model, DataLoader(TensorDataset(x, y), batch_size=8))
    table = whole.table
    assert sorted(table["epoch"].unique()) == [0, 2, 4]
    assert sorted(table["step"].unique()) == [0, 6, 12]
    moved = table[table["measure"] == "weight_change"]
    assert (moved.loc[moved["epoch"] == 0, "value"] == 0).all()
    assert (moved.loc[moved["epoch"] > 0, "value"] > 0).all()
    alignment = table[table["measure"] == "alignment"]["value"].tolist()
    assert inner.table["value"].tolist() == alignment
    assert whole.methods["network.0"] == "rule"


def test_transformers_trainer_calls_probes_before_training_and_after_epochs(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers", reason=REASON.format("transformers"))
        pytest.importorskip("accelerate", reason=REASON.format("transformers"))
        from feature_alignment.api.transformers import ProbeCallback

        draw = torch.Generator().manual_seed(0)
        ids = torch.randint(0, 20, (12, 5), generator=draw)
        labels = (ids[:, 0] > 9).long()
        config = transformers.BertConfig(
            vocab_size=20,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=12,
            max_position_embeddings=8,
            num_labels=2,
        )
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(config)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        probe = fa.Probe(model, batch, labels, output=lambda found: found.logits)
        rows = [{"input_ids": i, "labels": y} for i, y in zip(ids, labels, strict=True)]
        trainer = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=str(tmp_path),
                num_train_epochs=2,
                per_device_train_batch_size=4,
                learning_rate=0.01,
                report_to=[],
                save_strategy="no",
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=rows,
            callbacks=[ProbeCallback(probe)],
        )
        trainer.train()
    table = probe.table
    assert sorted(table["epoch"].unique()) == [0, 1, 2]
    assert sorted(table["step"].unique()) == [0, 3, 6]
    assert set(table["measure"]) >= {"alignment", "effective_rank", "c_nfa_pearson", "accuracy"}
    assert probe.methods["bert.encoder.layer.0.attention.self.query"] == "rule"


@pytest.mark.parametrize("name", ["lightning", "transformers"])
def test_a_callback_wants_probes_and_epochs(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name, reason=REASON.format(name))
        module = pytest.importorskip(f"feature_alignment.api.{name}")
    with pytest.raises(ValueError, match="expected a probe"):
        module.ProbeCallback()
    with pytest.raises(ValueError, match="got 1 and 0"):
        module.ProbeCallback(object(), every_epochs=0)
