"""A small text encoder, trained from scratch on a vocabulary of the training texts.

Shape legend: U distinct texts, L tokens, D width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn

from automm.encoders.attention import AttentionBlock, masked_mean
from automm.encoders.encoder import Encoder
from automm.errors import ConfigError, DataError
from automm.runtime.preprocess import Preprocess
from automm.runtime.texts import TextPreprocess
from automm.space import Int, OneOf, Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality

PAD, UNKNOWN = "[pad]", "[unk]"
PAD_ID, UNKNOWN_ID = 0, 1


class TextTransformer(Encoder):
    """Word embeddings, learned positions and pre-norm transformer layers; with no layers a bag of embeddings.

    `pooled` is the normalised mean of the tokens: texts of one kind share most words, so that their means differ
    little, and a LayerNorm brings the difference back to scale.

    Options:
        width: D.
        layers: transformer layers; 0 is a bag of embeddings.
        heads: attention heads.
        dropout: in the layers and on the embeddings.
        max_length: tokens kept of a text.
        vocabulary: the largest vocabulary, padding and the unknown word included; the most frequent words are kept.
        min_count: a word seen in fewer training texts is unknown.
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
        tokenizer = word_tokenizer(field.name, values, vocabulary=vocabulary, min_count=min_count)
        return TextPreprocess(tokenizer=tokenizer, max_length=max_length, pad_id=PAD_ID)

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
    ) -> None:
        super().__init__()
        if not isinstance(preprocess, TextPreprocess):
            raise ConfigError(f"text_transformer reads texts, not what {type(preprocess).__name__} makes")
        self.embedding = nn.Embedding(preprocess.tokenizer.get_vocab_size(), width)
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
        return Features(x_ULD, mask_UL, self.pooled_norm(masked_mean(x_ULD, mask_UL)))

    def layers(self) -> Sequence[nn.Module]:
        """The embedding, then the transformer layers."""
        return [self.embedding, *self.blocks]


def word_tokenizer(field: str, values: Sequence[Any], *, vocabulary: int, min_count: int) -> Tokenizer:
    """A WordLevel tokenizer over the words of `values`: most frequent first, ties in alphabetical order.

    Raises:
        DataError: a value is no text, or no word is left.
    """
    tokenizer = Tokenizer(models.WordLevel({PAD: PAD_ID, UNKNOWN: UNKNOWN_ID}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    seen: Counter[str] = Counter()
    for value in values:
        if not isinstance(value, str):
            raise DataError(
                f"field {field!r} holds {type(value).__name__} ({value!r:.60}) where text_transformer reads texts"
            )
        normal = tokenizer.normalizer.normalize_str(value)
        seen.update({word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)})
    kept = sorted((word for word, count in seen.items() if count >= min_count), key=lambda word: (-seen[word], word))
    if not kept:
        raise DataError(f"field {field!r} has no word seen in {min_count} training texts. Next: lower min_count.")
    words = [PAD, UNKNOWN, *(word for word in kept if word not in (PAD, UNKNOWN))][:vocabulary]
    tokenizer.model = models.WordLevel({word: at for at, word in enumerate(words)}, unk_token=UNKNOWN)
    return tokenizer
