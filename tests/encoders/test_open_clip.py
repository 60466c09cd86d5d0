import open_clip
import pytest
import torch
from cases import IMAGES, TEXTS, build, inputs
from open_clip.tokenizer import SimpleTokenizer, get_clean_fn
from tokenizers import Tokenizer

from automm.encoders.clip_tokenizer import cleaning, from_simple
from automm.errors import ConfigError, UnknownComponent

STRINGS = [
    "a photo of a cat",
    "A  Photo\tof\na CAT, isn't it?!",
    "",
    "   ",
    "it's they're we've I'm he'll she'd 'S 'RE",
    "naïve café — “quoted” ‘single’… ﬁne ﬂow",
    "日本語 текст العربية हिन्दी",
    "1234567890 3.14 x2 2x",
    "emoji 😀👩‍🚀 and ♥",
    "a_b __init__ foo-bar foo/bar #hash @at 50% $5",
    "&lt;b&gt;bold&lt;/b&gt; &amp;amp; &quot;x&quot; &#39;y&#39;",
    "antidisestablishmentarianism " * 30,
    "<start_of_text> inside <end_of_text> the text",
    "e\u0301 composed é",
]


@pytest.fixture(scope="module")
def simple():
    return SimpleTokenizer()


def test_the_tokenizer_json_gives_open_clips_tokens(simple):
    ours = Tokenizer.from_str(from_simple(simple).to_str())  # as serving reads it back
    ours.enable_truncation(simple.context_length)
    for text in STRINGS:
        wanted = simple([text])[0].tolist()
        found = ours.encode(text).ids
        assert found + [0] * (len(wanted) - len(found)) == wanted, text


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
def test_cleaning_is_open_clips(clean):
    normalizer, theirs = cleaning(clean), get_clean_fn(clean)
    for text in STRINGS:
        assert normalizer.normalize_str(text) == theirs(text), text


def whole(folder):
    return open_clip.create_model(f"local-dir:{folder}", force_custom_text=True, pretrained_text=False).eval()


def test_the_image_embedding_is_open_clips(tiny_clip):
    encoder, preprocess = build("open_clip_image", "image", weights=f"local-dir:{tiny_clip}")
    model, x = whole(tiny_clip), inputs(preprocess, IMAGES)
    mean, std = (torch.tensor(value)[:, None, None] for value in ([0.4, 0.5, 0.6], [0.2, 0.3, 0.25]))
    with torch.no_grad():
        wanted = model.encode_image((x["pixels"] / 255 - mean) / std)
        features = encoder(x)
    torch.testing.assert_close(features.pooled_BD, wanted, atol=1e-5, rtol=1e-4)
    assert features.tokens_BND.shape == (4, 16, 24)  # 4 x 4 patches in the joint space
    assert encoder.spec.has_tokens


def test_the_text_embedding_is_open_clips_though_texts_are_padded_less(tiny_clip):
    encoder, preprocess = build("open_clip_text", "text", weights=f"local-dir:{tiny_clip}")
    model = whole(tiny_clip)
    tokens = open_clip.get_tokenizer(f"local-dir:{tiny_clip}")(TEXTS)
    with torch.no_grad():
        wanted = model.encode_text(tokens)
        features = encoder(inputs(preprocess, TEXTS))
    assert tokens.shape[1] == 16
    assert features.tokens_BND.shape[1] < 16
    torch.testing.assert_close(features.pooled_BD, wanted, atol=1e-5, rtol=1e-4)
    last = features.mask_BN.sum(1) - 1  # the embedding is the projected state of the end of text
    torch.testing.assert_close(features.tokens_BND[torch.arange(4), last], features.pooled_BD)


def test_a_text_tower_of_transformers_is_open_clips(tiny_clip_on_bert):
    encoder, preprocess = build("open_clip_text", "text", weights=f"local-dir:{tiny_clip_on_bert}")
    model = whole(tiny_clip_on_bert)
    tokens = open_clip.get_tokenizer(f"local-dir:{tiny_clip_on_bert}")(TEXTS)
    with torch.no_grad():
        wanted = model.encode_text(tokens)
        features = encoder(inputs(preprocess, TEXTS))
    torch.testing.assert_close(features.pooled_BD, wanted, atol=1e-5, rtol=1e-4)
    assert encoder.spec.width == 24


def test_towers_that_read_padding_get_full_length(tmp_path, tiny_clip):
    config = (tiny_clip / "open_clip_config.json").read_text()
    (tmp_path / "open_clip_config.json").write_text(
        config.replace('"context_length": 16', '"context_length": 16, "no_causal_mask": true, "pool_type": "last"')
    )
    model = open_clip.create_model(f"local-dir:{tmp_path}", force_custom_text=True).eval()
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    encoder, preprocess = build("open_clip_text", "text", weights=f"local-dir:{tmp_path}", max_length=5)
    x = inputs(preprocess, TEXTS)
    assert x["ids"].shape == (4, 16)
    with torch.no_grad():
        wanted = model.encode_text(open_clip.get_tokenizer(f"local-dir:{tmp_path}")(TEXTS))
        torch.testing.assert_close(encoder(x).pooled_BD, wanted, atol=1e-5, rtol=1e-4)


def test_a_tower_without_tokens_gives_its_embedding_alone():
    encoder, preprocess = build("open_clip_image", "image", model="RN50", weights=None, image_size=32)
    with torch.no_grad():
        features = encoder(inputs(preprocess, IMAGES))
    assert not encoder.spec.has_tokens
    assert features.tokens_BND.shape == (4, 1, 1024)
    assert torch.equal(features.tokens_BND[:, 0], features.pooled_BD)


def test_what_open_clip_does_not_have(tmp_path):
    with pytest.raises(UnknownComponent, match="Did you mean 'ViT-B-32'"):
        build("open_clip_image", "image", model="ViT-B32", weights=None)
    with pytest.raises(ConfigError, match=r"open_clip_config\.json"):
        build("open_clip_text", "text", weights=f"local-dir:{tmp_path}")


def test_a_folder_without_weights_is_not_taken_for_random_ones(tmp_path, tiny_clip):
    (tmp_path / "open_clip_config.json").write_bytes((tiny_clip / "open_clip_config.json").read_bytes())
    with pytest.raises(ConfigError, match="cannot be loaded from weights=local-dir"):
        build("open_clip_image", "image", weights=f"local-dir:{tmp_path}")
