import pytest
import torch
from cases import TEXTS, build, inputs
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from automm.errors import ConfigError


def test_real_weights_know_a_cat_from_a_locomotive(minilm):
    encoder, preprocess = build("transformers", "text", weights=f"local-dir:{minilm}")
    with torch.no_grad():
        pooled = normalize(encoder(inputs(preprocess, ["a cat", "a kitten", "a steam locomotive"])).pooled_BD, dim=-1)
    kitten, locomotive = (pooled[0] @ pooled[1]).item(), (pooled[0] @ pooled[2]).item()
    assert kitten == pytest.approx(0.766, abs=0.002)
    assert locomotive == pytest.approx(0.211, abs=0.002)
    assert (encoder.spec.width, encoder.spec.tokens, len(encoder.layers())) == (384, 128, 6)


def test_the_tokenizer_is_the_models_own(minilm):
    _, preprocess = build("transformers", "text", weights=f"local-dir:{minilm}", max_length=12)
    theirs = AutoTokenizer.from_pretrained(minilm, local_files_only=True)
    texts = ["Is the café's door — the RED one — left?", "", "antidisestablishmentarianism " * 9, "日本"]
    wanted = theirs(texts, padding=True, truncation=True, max_length=12, return_tensors="np")
    ours = preprocess(texts)
    assert (ours["ids"] == wanted["input_ids"]).all()
    assert (ours["mask"] == wanted["attention_mask"].astype(bool)).all()


def test_features_are_those_of_transformers(tiny_bert):
    encoder, preprocess = build("transformers", "text", weights=f"local-dir:{tiny_bert}")
    cls, _ = build("transformers", "text", weights=f"local-dir:{tiny_bert}", pooling="cls")
    theirs = AutoModel.from_pretrained(tiny_bert, local_files_only=True, attn_implementation="eager").eval()
    x = inputs(preprocess, TEXTS)
    with torch.no_grad():
        hidden = theirs(input_ids=x["ids"], attention_mask=x["mask"].long()).last_hidden_state
        features = encoder(x)
        torch.testing.assert_close(cls(x).pooled_BD, hidden[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(features.tokens_BND[x["mask"]], hidden[x["mask"]], atol=1e-5, rtol=1e-4)
    mean = torch.stack([each[valid].mean(0) for each, valid in zip(hidden, x["mask"], strict=True)])
    torch.testing.assert_close(features.pooled_BD, mean, atol=1e-5, rtol=1e-4)


def test_layers_are_the_means_of_the_last_three(minilm):
    encoder, preprocess = build("transformers", "text", weights=f"local-dir:{minilm}", pooling="layers")
    theirs = AutoModel.from_pretrained(minilm, local_files_only=True).eval()
    x = inputs(preprocess, TEXTS)
    with torch.no_grad():
        hidden = theirs(input_ids=x["ids"], attention_mask=x["mask"].long(), output_hidden_states=True).hidden_states
        features = encoder(x)
    for piece, layer in zip(features.pooled_BD.split(384, dim=1), hidden[-3:], strict=True):
        mean = torch.stack([each[valid].mean(0) for each, valid in zip(layer, x["mask"], strict=True)])
        standard = (mean - mean.mean(1, keepdim=True)) / mean.std(1, keepdim=True, correction=0)
        torch.testing.assert_close(piece, standard / 384**0.5, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(features.tokens_BND[..., :384][x["mask"]], hidden[-1][x["mask"]], atol=1e-5, rtol=1e-4)
    assert not features.tokens_BND[..., 384:].any()


def test_one_file_and_a_folder_are_the_same_weights_and_null_is_not(tiny_bert):
    state = f"file:{tiny_bert}/model.safetensors"
    encoders = [
        build("transformers", "text", weights=f"local-dir:{tiny_bert}"),
        build("transformers", "text", model=str(tiny_bert), weights=state),
        build("transformers", "text", model=str(tiny_bert), weights=None),
    ]
    with torch.no_grad():
        folder, file, null = (encoder(inputs(preprocess, TEXTS)).pooled_BD for encoder, preprocess in encoders)
    assert torch.equal(folder, file)
    assert not torch.allclose(folder, null, atol=0.1)


def test_the_length_is_bounded_by_the_model(tiny_bert):
    _, preprocess = build("transformers", "text", weights=f"local-dir:{tiny_bert}", max_length=1000)
    assert preprocess.max_length == 40
    encoder, preprocess = build("transformers", "text", weights=f"local-dir:{tiny_bert}", max_length=7)
    assert encoder.spec.tokens == 7
    assert preprocess(TEXTS)["ids"].shape == (4, 7)


def test_weights_that_do_not_fit_are_refused(tiny_bert, tmp_path):
    partial = {"embeddings.LayerNorm.weight": torch.ones(32)}
    torch.save(partial, tmp_path / "partial.bin")
    with pytest.raises(ConfigError, match=r"lack \d+ of the tensors"):
        build("transformers", "text", model=str(tiny_bert), weights=f"file:{tmp_path}/partial.bin")
    with pytest.raises(ConfigError, match="cannot be loaded from weights=local-dir"):
        build("transformers", "text", weights=f"local-dir:{tmp_path}")
    with pytest.raises(ConfigError, match="one of mean, cls"):
        build("transformers", "text", weights=f"local-dir:{tiny_bert}", pooling="max")
