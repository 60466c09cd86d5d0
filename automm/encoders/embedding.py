"""A category as a vector.

Shape legend: U distinct categories, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from automm.encoders.encoder import Encoder
from automm.errors import ConfigError
from automm.runtime.categories import CategoryPreprocess
from automm.runtime.preprocess import Preprocess
from automm.space import OneOf, Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality


class Embedding(Encoder):
    """A learned vector a category (Guo and Berkhahn 2016, arXiv:1604.06737); one never seen in training is zero.

    Options:
        width: D.
    """

    MODALITIES: ClassVar[tuple[Modality, ...]] = ("categorical",)
    SPACE: ClassVar[Space] = Space({"width": OneOf((8, 16, 32, 64), ordered=True, default=16)})

    @classmethod
    def fit_preprocess(cls, field: FieldSpec, values: Sequence[Any], **options: Any) -> Preprocess:
        """The categories among `values`, numbered."""
        return CategoryPreprocess.fit(values)

    def __init__(self, field: FieldSpec, preprocess: Preprocess, *, width: int = 16) -> None:
        super().__init__()
        if not isinstance(preprocess, CategoryPreprocess):
            raise ConfigError(f"embedding reads categories, not what {type(preprocess).__name__} makes")
        self.embedding = nn.Embedding(1 + len(preprocess.names), width, padding_idx=0)
        self.spec = FeatureSpec(field.name, "categorical", width, 1, has_tokens=False)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`index` int64 [U] -> Features of U categories."""
        return Features.of_vector(self.embedding(inputs["index"]))
