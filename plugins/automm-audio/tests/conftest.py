"""No test may reach a model hub: models are tiny, random and saved on the spot, as transformers saves its own."""

import os

import pytest

# transformers and huggingface_hub read this when they are first imported
os.environ["HF_HUB_OFFLINE"] = "1"

RATE = 8000


def saved(folder, config, extractor, seed=1):
    """A model of this configuration with random weights, and its feature extractor, in `folder`."""
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    AutoModel.from_config(config).save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def waveform_config(kind, **options):
    import transformers

    return getattr(transformers, f"{kind}Config")(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 4),
        conv_stride=(5, 4, 4),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4,
        **options,
    )


@pytest.fixture(scope="session")
def tiny_wav2vec2(tmp_path_factory):
    """A wav2vec2 that was trained with an attention mask: normalised by layer."""
    from transformers import Wav2Vec2FeatureExtractor

    config = waveform_config("Wav2Vec2", feat_extract_norm="layer", do_stable_layer_norm=True, layerdrop=0.5)
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=True, do_normalize=True)
    return saved(tmp_path_factory.mktemp("wav2vec2"), config, extractor)


@pytest.fixture(scope="session")
def tiny_hubert(tmp_path_factory):
    """A hubert that knows no mask: normalised by group, over all time."""
    from transformers import Wav2Vec2FeatureExtractor

    config = waveform_config("Hubert", feat_extract_norm="group")
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=False, do_normalize=True)
    return saved(tmp_path_factory.mktemp("hubert"), config, extractor)


@pytest.fixture(scope="session")
def tiny_ast(tmp_path_factory):
    """An Audio Spectrogram Transformer of two thirds of a second."""
    from transformers import ASTConfig, ASTFeatureExtractor

    config = ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        patch_size=8,
        frequency_stride=8,
        time_stride=8,
        max_length=64,
        num_mel_bins=16,
    )
    extractor = ASTFeatureExtractor(sampling_rate=16_000, num_mel_bins=16, max_length=64)
    return saved(tmp_path_factory.mktemp("ast"), config, extractor)
