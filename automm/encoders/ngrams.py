"""A text as a bag of hashed n-grams.

Shape legend: U distinct texts, L buckets of a text, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from automm.encoders.encoder import Encoder
from automm.errors import ConfigError
from automm.runtime.ngrams import NgramPreprocess
from automm.runtime.preprocess import Preprocess
from automm.space import OneOf, Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality


class Ngrams(Encoder):
    """Hashed n-grams of words and characters, weighted by inverse document frequency; nothing is trained.

    Needs no download and costs next to nothing; hard to beat where texts are few or full of names (Weinberger et al.
    2009, arXiv:0902.2206; the n-grams of characters after Bojanowski et al. 2017, arXiv:1607.04606).

    Options:
        width: D, the buckets.
        characters: the longest n-gram of characters; 0 = words and pairs of words alone.
    """

    MODALITIES: ClassVar[tuple[Modality, ...]] = ("text",)
    SPACE: ClassVar[Space] = Space({
        "width": OneOf((512, 1024, 2048, 4096), ordered=True, default=2048),
        "characters": OneOf((0, 4, 5), ordered=True, default=5),
    })  # fmt: skip

    @classmethod
    def fit_preprocess(
        cls, field: FieldSpec, values: Sequence[Any], *, width: int = 2048, characters: int = 5, **options: Any
    ) -> Preprocess:
        """The n-grams' frequencies among `values`."""
        return NgramPreprocess.fit(values, buckets=width, characters=characters)

    def __init__(self, field: FieldSpec, preprocess: Preprocess, *, width: int = 2048, characters: int = 5) -> None:
        super().__init__()
        if not isinstance(preprocess, NgramPreprocess):
            raise ConfigError(f"ngrams reads n-grams, not what {type(preprocess).__name__} makes")
        self.width = len(preprocess.idf)
        self.spec = FeatureSpec(field.name, "text", self.width, 1, has_tokens=False)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`ids` int64 [U, L], `weights` float [U, L] and `mask` bool [U, L] -> Features of U texts."""
        weights_UL = inputs["weights"] * inputs["mask"]
        zeros_UD = weights_UL.new_zeros(weights_UL.shape[0], self.width)
        return Features.of_vector(zeros_UD.scatter_add(1, inputs["ids"], weights_UL))
