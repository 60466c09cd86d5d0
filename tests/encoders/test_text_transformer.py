import numpy as np
import pytest
import torch
from cases import TEXTS, build, inputs

from automm.encoders.text_transformer import rarity, word_tokenizer
from automm.errors import ConfigError, DataError
from automm.runtime.kinds import load_preprocess, save_preprocess


def vocabulary(texts, **options):
    tokenizer, shares = word_tokenizer("thing", texts, **{"vocabulary": 100, "min_count": 1, **options})
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    return tokenizer, dict(zip(words, shares, strict=True))


def test_words_are_lower_cased_and_split_from_punctuation():
    tokenizer, _ = vocabulary(["Is the CAT left?", "Ça va, l'été!"])
    assert tokenizer.encode("is the cat left?").tokens == ["is", "the", "cat", "left", "?"]
    assert tokenizer.encode("ÇA VA l'été").tokens == ["ça", "va", "l", "'", "été"]
    assert tokenizer.encode("the zebra").tokens == ["the", "[unk]"]


def test_the_most_frequent_words_come_first_and_shares_count_texts():
    _, shares = vocabulary(["a a a b", "b c", "b"])
    assert list(shares) == ["[pad]", "[unk]", "b", "a", "c"]
    assert shares["b"] == 1
    assert shares["a"] == pytest.approx(1 / 3)
    assert list(vocabulary(["z y", "y x"], min_count=2)[1]) == ["[pad]", "[unk]", "y"]
    assert list(vocabulary(["z y", "y x"], vocabulary=3)[1]) == ["[pad]", "[unk]", "y"]


def test_what_cannot_be_learnt_from_is_refused():
    with pytest.raises(DataError, match="holds int"):
        vocabulary(["a", 3])
    for texts, options in (([], {}), (["", " "], {}), (["a", "b"], {"min_count": 2})):
        with pytest.raises(DataError, match="no word"):
            vocabulary(texts, **options)
    with pytest.raises(ConfigError, match="one of idf, mean"):
        build("text_transformer", "text", pooling="max")


def test_rare_words_weigh_more():
    assert rarity(np.array([1.0, 1 / np.e, np.exp(-3)])).tolist() == pytest.approx([0.1, 1, 3])
    frames = ["what is the shape of the {} object?", "is the {} object on the left?", "how many objects are {}?"]
    texts = [frame.format(colour) for frame in frames for colour in ("red", "green", "blue", "gray")]
    gap = {}
    for pooling in ("idf", "mean"):
        encoder, preprocess = build("text_transformer", "text", values=texts, width=32, layers=0, pooling=pooling)
        with torch.no_grad():
            pooled = encoder(inputs(preprocess, texts[:4])).pooled_BD  # the same but for a colour
        gap[pooling] = torch.pdist(pooled).mean().item()
    assert gap["idf"] > 1.5 * gap["mean"]


def test_a_loaded_preprocessing_builds_the_same_encoder(tmp_path):
    encoder, preprocess = build("text_transformer", "text", width=16)
    again = load_preprocess(tmp_path, **save_preprocess(preprocess, tmp_path))
    rebuilt = type(encoder)(type("Field", (), {"name": "thing"}), again, width=16).eval()
    rebuilt.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        x = inputs(preprocess, TEXTS)
        assert torch.equal(rebuilt(x).pooled_BD, encoder(x).pooled_BD)


def test_only_layers_and_positions_know_the_order_of_words():
    a, b = "the red cat", "cat the red"
    for layers, same in ((0, True), (1, False)):
        encoder, preprocess = build("text_transformer", "text", width=16, layers=layers)
        if not layers:
            torch.nn.init.zeros_(encoder.positions)
        with torch.no_grad():
            first, second = encoder(inputs(preprocess, [a, b])).pooled_BD
        assert torch.allclose(first, second, atol=1e-5) == same


def test_longer_texts_than_the_limit_are_cut():
    encoder, preprocess = build("text_transformer", "text", width=16, max_length=3)
    with torch.no_grad():
        features = encoder(inputs(preprocess, TEXTS))
    assert features.tokens_BND.shape[1] == encoder.spec.tokens == 3
