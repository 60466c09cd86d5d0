"""A small text encoder, trained from scratch on a vocabulary of the training texts.

Shape legend: U distinct texts, L tokens, D width, V words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import e
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn

from automm.encoders.attention import AttentionBlock, weighted_mean
from automm.encoders.encoder import Encoder
from automm.errors import ConfigError, DataError
from automm.runtime.preprocess import Preprocess
from automm.runtime.texts import TextPreprocess
from automm.space import Int, OneOf, Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality

Pooling = Literal["idf", "mean"]
PAD, UNKNOWN = "[pad]", "[unk]"
PAD_ID, UNKNOWN_ID = 0, 1


class TextTransformer(Encoder):
    """Word embeddings, learned positions and pre-norm transformer layers; with no layers a bag of embeddings.

    `pooled` is a mean of the tokens, weighted by how rare their words are among the training texts (as in Arora et al.
    2017, "A simple but tough-to-beat baseline for sentence embeddings") and normalised: texts of one kind share most
    words, and what tells them apart would drown in a plain mean.

    Options:
        width: D.
        layers: transformer layers; 0 is a bag of embeddings.
        heads: attention heads.
        dropout: in the layers and on the embeddings.
        max_length: tokens kept of a text.
        vocabulary: the largest vocabulary, padding and the unknown word included; the most frequent words are kept.
        min_count: a word seen in fewer training texts is unknown.
        pooling: idf (weighted by log inverse document frequency) | mean.
    """

    MODALITIES: ClassVar[tuple[Modality, ...]] = ("text",)
    SPACE: ClassVar[Space] = Space(
        {"width": OneOf((48, 64, 96, 128), ordered=True, default=64), "layers": Int(0, 2, default=1)}
    )

    @classmethod
    def fit_preprocess(
        cls,
        field: FieldSpec,
        values: Sequence[Any],
        *,
        max_length: int = 64,
        vocabulary: int = 20_000,
        min_count: int = 1,
        **options: Any,
    ) -> Preprocess:
        """A word tokenizer: lower case, accents kept, words and single punctuation marks.

        Raises:
            DataError: the texts hold no word.
        """
        tokenizer, shares = word_tokenizer(field.name, values, vocabulary=vocabulary, min_count=min_count)
        return TextPreprocess(tokenizer=tokenizer, max_length=max_length, pad_id=PAD_ID, shares=shares)

    def __init__(
        self,
        field: FieldSpec,
        preprocess: Preprocess,
        *,
        width: int = 64,
        layers: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
        max_length: int = 64,
        vocabulary: int = 20_000,
        min_count: int = 1,
        pooling: Pooling = "idf",
    ) -> None:
        super().__init__()
        if not isinstance(preprocess, TextPreprocess):
            raise ConfigError(f"text_transformer reads texts, not what {type(preprocess).__name__} makes")
        if pooling not in get_args(Pooling):
            raise ConfigError(f"pooling={pooling} is not allowed: one of {', '.join(get_args(Pooling))}")
        words = preprocess.tokenizer.get_vocab_size()
        shares = preprocess.shares if pooling == "idf" and preprocess.shares is not None else np.full(words, 1 / e)
        self.rarity_V: Tensor
        self.register_buffer("rarity_V", torch.from_numpy(rarity(shares)), persistent=False)
        self.embedding = nn.Embedding(words, width)
        self.positions = nn.Parameter(torch.randn(preprocess.max_length, width) * 0.02)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads=heads, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.pooled_norm = nn.LayerNorm(width)
        self.spec = FeatureSpec(field.name, "text", width, preprocess.max_length, has_tokens=True)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`ids` int64 [U, L] and `mask` bool [U, L] -> Features of U texts."""
        ids_UL, mask_UL = inputs["ids"], inputs["mask"]
        x_ULD = self.drop(self.embedding(ids_UL) + self.positions[: ids_UL.shape[1]])
        for block in self.blocks:
            x_ULD = block(x_ULD, mask_UL)
        x_ULD = self.norm(x_ULD)
        weight_UL = torch.where(mask_UL, self.rarity_V[ids_UL], 0.0)
        return Features(x_ULD, mask_UL, self.pooled_norm(weighted_mean(x_ULD, weight_UL)))

    def layers(self) -> Sequence[nn.Module]:
        """The embedding, then the transformer layers."""
        return [self.embedding, *self.blocks]


def rarity(shares_V: np.ndarray) -> np.ndarray:
    """Log inverse document frequency, float32 [V]; at least a tenth, so that a text of common words has a mean too."""
    rarity_V: np.ndarray = np.maximum(-np.log(shares_V), 0.1).astype(np.float32)
    return rarity_V


def word_tokenizer(
    field: str, values: Sequence[Any], *, vocabulary: int, min_count: int
) -> tuple[Tokenizer, np.ndarray]:
    """A WordLevel tokenizer over the words of `values`, most frequent first (ties in alphabetical order).

    Returns:
        The tokenizer, and the share of `values` that holds each of its words [V]; of a rarer word, that of one text.

    Raises:
        DataError: a value is no text, or no word is left.
    """
    tokenizer = Tokenizer(models.WordLevel({PAD: PAD_ID, UNKNOWN: UNKNOWN_ID}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    seen: Counter[str] = Counter()
    for value in values:
        if not isinstance(value, str):
            found = f"{type(value).__name__} ({value!r:.60})"
            raise DataError(f"field {field!r} holds {found} where text_transformer reads texts.")
        normal = tokenizer.normalizer.normalize_str(value)
        seen.update({word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)})
    kept = sorted((word for word, count in seen.items() if count >= min_count), key=lambda word: (-seen[word], word))
    if not kept:
        raise DataError(f"field {field!r} has no word seen in {min_count} training texts. Next: lower min_count.")
    words = [PAD, UNKNOWN, *(word for word in kept if word not in (PAD, UNKNOWN))][:vocabulary]
    tokenizer.model = models.WordLevel({word: at for at, word in enumerate(words)}, unk_token=UNKNOWN)
    return tokenizer, np.array([max(seen[word], 1) for word in words]) / len(values)
