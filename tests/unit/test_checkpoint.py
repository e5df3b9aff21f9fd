"""A damaged checkpoint is never resumed: the run starts anew, to the same result."""

import json
import os
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_runs import Killed, killing
from torch import nn

from feature_alignment.data.loading import Examples
from feature_alignment.training import checkpoint, schedules
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.losses import cross_entropy
from feature_alignment.training.readings import Reading
from feature_alignment.training.recipe import Recipe

N, FEATURES, CLASSES = 23, 5, 3
EXAMPLES = Examples(torch.arange(N * FEATURES).view(N, FEATURES).sin(), torch.arange(N) % CLASSES)


def trained(saving=None, loss=cross_entropy):
    """Train a small network; return its weights and the measurements."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, CLASSES))
    recipe = Recipe(
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=1.0),
        learning_rate=schedules.constant(0.01),
        batch_size=10,
        epochs=4,
        order=lambda epoch: torch.arange(N).roll(epoch),
    )

    def weights(model):
        return [Reading(name, value.sum().item()) for name, value in model.named_parameters()]

    found = train(
        model,
        EXAMPLES,
        recipe,
        schedule=schedules.EveryEpochs(),
        probes=[weights],
        checkpointing=saving,
    )
    return [parameter.tolist() for parameter in model.parameters()], found


@pytest.fixture(scope="module")
def undisturbed():
    return trained()


@pytest.fixture
def saving(tmp_path):
    """Where a training was killed in its eighth step, after a checkpoint."""
    saving = Checkpointing(tmp_path / "state", "same", interval_s=0)
    with pytest.raises(Killed):
        trained(saving, killing(cross_entropy, 8))
    return saving


def header_size(content):
    return 8 + struct.unpack("<Q", content[:8])[0]


def flipped(seed):
    """Flip one bit: the first ones of the header, the others anywhere."""

    def damage(path):
        content = bytearray(path.read_bytes())
        draw = torch.Generator().manual_seed(seed)
        within = header_size(content) if seed % 2 else len(content)
        place = int(torch.randint(within, (), generator=draw))
        content[place] ^= 1 << seed % 8
        path.write_bytes(content)

    return damage


def zeroed(share):
    """Zero a block of 64 bytes of the tensors, or of the end of the header."""

    def damage(path):
        content = bytearray(path.read_bytes())
        start = header_size(content)
        place = start - 64 if share is None else start + int(share * (len(content) - start - 64))
        content[place : place + 64] = bytes(64)
        path.write_bytes(content)

    return damage


def cut(share):
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def longer(path):
    with path.open("ab") as file:
        file.write(b"more")


def replaced(content):
    return lambda path: path.write_bytes(content)


def rewritten(change, *, checksum=True):
    """Save the checkpoint again, well formed, after a change of its contents and tensors."""

    def damage(path):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        contents = json.loads(metadata["contents"])
        change(contents, tensors)
        metadata["contents"] = json.dumps(contents)
        if not checksum:
            del metadata["checksum"]
        save_file(tensors, path, metadata=metadata)

    return damage


def progress(**values):
    return rewritten(lambda contents, tensors: contents["progress"].update(values))


def lacks(*keys):
    def change(contents, tensors):
        for key in keys[:-1]:
            contents = contents[key]
        del contents[keys[-1]]

    return rewritten(change)


def tensor(name, change):
    def changed(contents, tensors):
        tensors[name] = change(tensors[name]).contiguous()

    return rewritten(changed)


def without_tensor(name):
    return rewritten(lambda contents, tensors: tensors.pop(name))


def measured(change):
    return rewritten(lambda contents, tensors: change(contents["progress"]["measurements"]))


def no_metadata(path):
    with safe_open(path, framework="pt") as file:
        save_file({name: file.get_tensor(name) for name in file.keys()}, path)  # noqa: SIM118


def folder(path):
    path.unlink()
    (path / "inside").mkdir(parents=True)


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def link_to_fifo(path):
    path.unlink()
    os.mkfifo(path.with_name("fifo"))
    path.symlink_to("fifo")


def dangling(path):
    path.unlink()
    path.symlink_to("nowhere")


DAMAGES = {
    **{f"flipped bit {seed}": flipped(seed) for seed in range(24)},
    **{f"zeroed at {share}": zeroed(share) for share in (None, 0.0, 0.2, 0.5, 0.8)},
    **{f"cut to {share}": cut(share) for share in (0, 0.001, 0.1, 0.5, 0.9, 0.999)},
    "longer": longer,
    "empty object": replaced(struct.pack("<Q", 2) + b"{}"),
    "huge header": replaced(struct.pack("<Q", 2**60) + b"{}"),
    "text": replaced(b"no checkpoint"),
    "zip": replaced(b"PK\x03\x04" + bytes(100)),
    "zeros": replaced(bytes(5000)),
    "folder": folder,
    "fifo": fifo,
    "link to a fifo": link_to_fifo,
    "dangling link": dangling,
    "no metadata": no_metadata,
    "no checksum": rewritten(lambda contents, tensors: None, checksum=False),
    "step -5": progress(step=-5),
    "step later": progress(step=9),
    "epoch beyond the end": progress(epoch=1000),
    "batch beyond the end": progress(batch=1000),
    "epoch as text": progress(epoch="2"),
    "stopped": progress(stopped=True),
    "unknown progress": progress(more=1),
    "measurements dropped": measured(list.clear),
    "measurement dropped": measured(list.pop),
    "measurement twice": measured(lambda found: found.append(found[-1])),
    "measurement changed": measured(lambda found: found[0].update(value=0.0)),
    "measurement unknown key": measured(lambda found: found[0].update(more=0.0)),
    "measurement without value": measured(lambda found: found[0].pop("value")),
    "no fingerprint": lacks("fingerprint"),
    "no progress": lacks("progress"),
    "no step": lacks("progress", "step"),
    "no measurements": lacks("progress", "measurements"),
    "no optimizer": lacks("optimizer"),
    "no plain": lacks("optimizer", "plain"),
    "no groups": lacks("optimizer", "param_groups"),
    "no observers": lacks("observers"),
    "other groups": rewritten(lambda c, _: c["optimizer"]["param_groups"][0].update(lr=9.0)),
    "weights shifted": tensor("model/0.weight", lambda x: x + 1),
    "weights transposed": tensor("model/0.weight", lambda x: x.T),
    "weights flat": tensor("model/0.weight", torch.flatten),
    "weights rounded": tensor("model/0.weight", lambda x: x.to(torch.float16)),
    "weights doubled": tensor("model/0.weight", lambda x: x.double()),
    "weights seen as bytes": tensor("model/0.weight", lambda x: x.view(torch.uint8)),
    "bias infinite": tensor("model/0.bias", lambda x: x * torch.inf),
    "no weights": without_tensor("model/0.weight"),
    "moments exchanged": rewritten(
        lambda _, t: t.update({"optimizer/0/exp_avg": t["optimizer/0/exp_avg_sq"].clone()})
    ),
    "no moments": without_tensor("optimizer/0/exp_avg"),
    "random state changed": tensor("random/cpu", lambda x: x.flip(0)),
    "no random state": without_tensor("random/cpu"),
    "one tensor more": rewritten(lambda _, t: t.update({"optimizer/0/more": torch.zeros(2)})),
    "one layer more": rewritten(lambda _, t: t.update({"model/9.bias": torch.zeros(2)})),
}


def test_there_are_many_damages():
    assert len(DAMAGES) >= 60


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_changes_no_result(saving, undisturbed, caplog, kind):
    DAMAGES[kind](saving.path)
    assert trained(saving) == undisturbed
    assert "resuming" not in caplog.text
    if kind != "dangling link":
        [told] = [record.getMessage() for record in caplog.records if "damaged" in record.message]
        assert "\n" not in told
        assert told.endswith(f"set aside as {saving.path}.damaged")
        assert os.path.lexists(f"{saving.path}.damaged")


def test_an_undamaged_checkpoint_is_resumed(saving, undisturbed, caplog):
    caplog.set_level("INFO")
    assert trained(saving) == undisturbed
    assert "resuming from step 7" in caplog.text


def test_earlier_damaged_checkpoints_are_kept(saving):
    saving.path.with_name("state.damaged").mkdir()
    cut(0.5)(saving.path)
    trained(saving)
    assert saving.path.with_name("state.damaged2").is_file()


def test_a_checksum_covers_every_type_and_layout():
    values = torch.arange(12).view(3, 4)
    kinds = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8)
    tensors = {str(kind): values.to(kind) for kind in kinds}
    tensors |= {"none": torch.zeros(0, 3), "one": torch.tensor(2.0)}
    tensors |= {
        "turned": values.T,
        "last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    known = checkpoint._checksum("{}", tensors)
    assert known == checkpoint._checksum("{}", {k: v.contiguous() for k, v in tensors.items()})
    for name, value in tensors.items():
        if value.numel():
            changed = tensors | {name: torch.zeros_like(value)}
            assert checkpoint._checksum("{}", changed) != known, name
