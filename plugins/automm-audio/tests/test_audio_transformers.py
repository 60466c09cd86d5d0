"""Audio models of transformers: automm's contract, and the same features as transformers' own code gives."""

import numpy as np
import pytest
import torch
from automm_audio.audio_transformers import AudioTransformers
from torch.nn.functional import pad
from transformers import AutoFeatureExtractor, AutoModel, Wav2Vec2FeatureExtractor, WhisperConfig

from automm.errors import ConfigError, OutOfRange
from automm.testing import checks_for, subject
from automm.types import FieldSpec

MODELS = ("tiny_wav2vec2", "tiny_hubert", "tiny_ast")
RATES = {"tiny_wav2vec2": 8000, "tiny_hubert": 8000, "tiny_ast": 16_000}
FIELD = FieldSpec("said", "audio")
NOISE = np.random.default_rng(0).normal(size=9000).astype(np.float32) / 4


def build(folder, seconds=0.5, weights="local-dir", **options):
    options = {"weights": f"local-dir:{folder}" if weights == "local-dir" else weights, **options}
    preprocess = AudioTransformers.fit_preprocess(FIELD, [], seconds=seconds, **options)
    return AudioTransformers(FIELD, preprocess, seconds=seconds, **options).eval(), preprocess


def features(encoder, preprocess, clips):
    with torch.no_grad():
        return encoder({name: torch.from_numpy(array) for name, array in preprocess(clips).items()})


@pytest.mark.parametrize("check", checks_for("encoder"), ids=lambda check: check.__name__)
@pytest.mark.parametrize("model", MODELS)
def test_contract(model, check, request):
    folder = request.getfixturevalue(model)
    check(subject("encoder", "audio_transformers", weights=f"local-dir:{folder}", seconds=0.4))


@pytest.mark.parametrize("model", ["tiny_wav2vec2", "tiny_hubert"])
def test_waveforms_reach_the_model_as_its_own_extractor_gives_them(model, request):
    folder, rate = request.getfixturevalue(model), RATES[model]
    encoder, preprocess = build(folder)
    clips = [NOISE[:4000] + 0.3, NOISE[:2500] * 2]
    ours = features(encoder, preprocess, [(clip, rate) for clip in clips])
    extractor, theirs = AutoFeatureExtractor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    inputs = extractor(clips, sampling_rate=rate, padding="max_length", max_length=4000, return_tensors="pt")
    if not extractor.return_attention_mask:  # it standardises the padding as well, unless there is none
        alone = [torch.tensor(extractor(clip, sampling_rate=rate)["input_values"][0]) for clip in clips]
        inputs = {"input_values": torch.stack([pad(each, (0, 4000 - len(each))) for each in alone])}
    with torch.no_grad():
        hidden = theirs(**inputs).last_hidden_state
    frames = [int(theirs._get_feat_extract_output_lengths(len(clip))) for clip in clips]
    assert ours.mask_BN.sum(1).tolist() == frames
    assert encoder.spec.tokens == hidden.shape[1] == frames[0]
    for row, count in enumerate(frames):
        torch.testing.assert_close(ours.tokens_BND[row, :count], hidden[row, :count], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(ours.pooled_BD[row], hidden[row, :count].mean(0), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("seconds", [0.5, 0.9])
def test_spectrograms_reach_the_model_as_its_own_extractor_gives_them(tiny_ast, seconds):
    """Of clips shorter and longer than what it takes."""
    encoder, preprocess = build(tiny_ast, seconds)
    clips = [NOISE[:3000], NOISE[: int(16_000 * seconds)]]
    ours = features(encoder, preprocess, [(clip, 16_000) for clip in clips])
    extractor, theirs = AutoFeatureExtractor.from_pretrained(tiny_ast), AutoModel.from_pretrained(tiny_ast).eval()
    with torch.no_grad():
        found = theirs(**extractor(clips, sampling_rate=16_000, return_tensors="pt"))
    torch.testing.assert_close(ours.tokens_BND, found.last_hidden_state, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(ours.pooled_BD, found.pooler_output, atol=2e-3, rtol=1e-3)
    assert encoder.spec.tokens == found.last_hidden_state.shape[1]


@pytest.mark.parametrize("model", MODELS)
def test_blocks_are_those_of_the_transformer(model, request):
    folder = request.getfixturevalue(model)
    encoder, _ = build(folder, tune="last_k")
    assert len(encoder.layers()) == 2
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert trained
    assert not any("conv" in name or "embeddings" in name or ".0." in name for name in trained)
    frozen, _ = build(folder)
    assert not any(p.requires_grad for p in frozen.parameters())
    whole, _ = build(folder, tune="full")
    assert all(p.requires_grad for p in whole.parameters())


def test_training_draws_nothing_from_elsewhere(tiny_wav2vec2):
    """Neither masks from numpy's generator nor layers that are left out."""
    encoder, preprocess = build(tiny_wav2vec2, tune="full")
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    encoder.train()
    encoder.model.config.attention_dropout = 0.0
    for layer in encoder.layers():
        layer.attention.dropout = 0.0
    one, other = (features(encoder, preprocess, [(NOISE[:4000], 8000)]) for _ in range(2))
    assert torch.equal(one.pooled_BD, other.pooled_BD)


def test_one_file_and_a_folder_are_the_same_weights_and_null_is_not(tiny_ast):
    clips = [(NOISE, 16_000)]
    folder, file, null = (
        features(*build(tiny_ast, weights=weights, model=str(tiny_ast)), clips).pooled_BD
        for weights in ("local-dir", f"file:{tiny_ast}/model.safetensors", None)
    )
    assert torch.equal(folder, file)
    assert not torch.allclose(folder, null, atol=0.1)


def test_a_frozen_model_has_an_identity_that_follows_what_it_is(tiny_ast, tiny_hubert):
    def identity(folder, **options):
        return AudioTransformers.identity(weights=f"local-dir:{folder}", **options)

    one = identity(tiny_ast)
    assert one
    assert one == identity(tiny_ast)
    assert one != identity(tiny_hubert)
    assert one != identity(tiny_ast, seconds=3.0)
    assert all(f'"{package}"' in one for package in ("torch", "transformers", "automm", "numpy", "soundfile"))
    assert identity(tiny_ast, tune="full") is None
    assert AudioTransformers.identity(model=str(tiny_ast), weights=None) is None


def test_what_cannot_be_fed_is_refused(tiny_wav2vec2, tmp_path):
    with pytest.raises(OutOfRange, match="a token of wav2vec2 covers 105 samples, and a clip has 80"):
        build(tiny_wav2vec2, seconds=0.01)
    config = WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, vocab_size=20, num_mel_bins=8, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="'whisper' reads what"):
        build(tmp_path)


def test_a_model_without_its_extractor_is_named(tiny_ast, tmp_path):
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((tiny_ast / file).read_bytes())
    with pytest.raises(ConfigError, match="the feature extractor of"):
        build(tmp_path)
