import pytest
import torch
from cases import build
from torch import nn

from automm.encoders.encoder import Encoder
from automm.encoders.tuning import apply_tuning, longest_list, sequence_blocks
from automm.errors import ConfigError, OutOfRange
from automm.types import FeatureSpec


class Tower(Encoder):
    """A stem, three blocks with dropout and batch statistics, and a final norm."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(4))
        self.stem = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)) for _ in range(3)
        )
        self.norm = nn.LayerNorm(4)
        self.spec = FeatureSpec("thing", "image", 4, 1, False)

    def forward(self, x):
        x = self.stem(x) + self.token
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def layers(self):
        return list(self.blocks)


def trained(tower):
    return {name.rpartition(".")[0] for name, p in tower.named_parameters() if p.requires_grad}


def test_frozen_is_a_fixed_function_even_in_training_mode():
    tower = Tower()
    apply_tuning(tower, "frozen", 1)
    model = nn.Sequential(tower).train()  # the mode reaches it through a parent
    assert not any(module.training for module in tower.modules())
    assert not trained(tower)
    x = torch.randn(8, 4)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    assert torch.equal(model(x), model(x))
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())
    assert not model(x).requires_grad


def test_last_k_trains_the_last_blocks_and_what_follows():
    tower = Tower()
    apply_tuning(tower, "last_k", 2)
    assert trained(tower) == {"blocks.1.0", "blocks.1.1", "blocks.2.0", "blocks.2.1", "norm"}
    tower.eval().train()
    modes = [block[2].training for block in tower.blocks]
    assert modes == [False, True, True]
    moved = tower.blocks[0][1].running_mean.clone(), tower.blocks[1][1].running_mean.clone()
    tower(torch.randn(8, 4) + 3)
    assert torch.equal(tower.blocks[0][1].running_mean, moved[0])
    assert not torch.equal(tower.blocks[1][1].running_mean, moved[1])


def test_full_undoes_what_was_frozen():
    tower = Tower()
    apply_tuning(tower, "frozen", 1)
    apply_tuning(tower, "full", 1)
    assert all(p.requires_grad for p in tower.parameters())
    assert all(module.training for module in tower.train().modules())


def test_bad_values_are_refused():
    with pytest.raises(ConfigError, match="one of frozen, last_k, full"):
        apply_tuning(Tower(), "some", 1)
    for last_k in (0, 4):
        with pytest.raises(OutOfRange, match="has 3 blocks"):
            apply_tuning(Tower(), "last_k", last_k)


def test_blocks_of_foreign_models():
    seen = nn.ModuleDict({"stem": nn.Linear(2, 2), "act": nn.ReLU(), "body": nn.Sequential(nn.Linear(2, 2), nn.ReLU())})
    assert sequence_blocks(seen) == [seen["body"][0]]
    assert sequence_blocks(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))[0].in_features == 2
    tower = Tower()
    assert longest_list(tower) == list(tower.blocks)
    alone = nn.Linear(1, 1)
    assert longest_list(alone) == [alone]


@pytest.mark.parametrize(
    ("name", "modality", "folder", "options", "last"),
    [
        ("timm", "image", None, {"model": "test_vit", "weights": None, "image_size": 32}, "model.blocks.5."),
        ("timm", "image", None, {"model": "test_efficientnet", "weights": None, "image_size": 32}, "model.blocks."),
        ("transformers", "text", "tiny_bert", {}, "model.encoder.layer.1."),
        ("open_clip_image", "image", "tiny_clip", {}, "tower.transformer.resblocks.1."),
        ("open_clip_text", "text", "tiny_clip", {}, "tower.transformer.resblocks.1."),
    ],
)
def test_last_k_of_real_towers(name, modality, folder, options, last, request):
    if folder:
        options = {**options, "weights": f"local-dir:{request.getfixturevalue(folder)}"}
    encoder, _ = build(name, modality, tune="last_k", last_k=1, **options)
    flags = [(path, p.requires_grad) for path, p in encoder.named_parameters()]
    names = [path for path, wanted in flags if wanted]
    assert names[0].startswith(last)
    assert 0 < len(names) < len(flags)
    if last.startswith("tower"):
        assert names[-1] == "projection.weight"
