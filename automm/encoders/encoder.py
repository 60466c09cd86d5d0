"""What an encoder is: one field of one modality -> `Features`.

Shape legend: U distinct items, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from automm.runtime.preprocess import Preprocess
from automm.space import Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality


class Encoder(nn.Module):
    """Base of every encoder.

    Two steps, because what must be learnt from data before a network exists (a vocabulary) is not the network's:
    `fit_preprocess` makes the preprocessing from training values alone; `__init__(field, preprocess, *, options)`
    builds the network. Both get the same keyword options; the `__init__` signature is the configuration schema.
    Missing items are not an encoder's business: it sees a placeholder, the Model replaces its output.
    """

    API: ClassVar[int] = 1
    SPACE: ClassVar[Space] = Space()
    MODALITIES: ClassVar[tuple[Modality, ...]] = ()

    spec: FeatureSpec  # set by __init__; no forward pass is needed to know it
    pretrained: bool = False  # whether it starts from weights; `build_encoder` asks the option `weights`
    frozen: tuple[nn.Module, ...] = ()  # modules that stay in evaluation mode whatever the model does; see tuning.py

    @classmethod
    def fit_preprocess(cls, field: FieldSpec, values: Sequence[Any], **options: Any) -> Preprocess:
        """The preprocessing for this field, fitted on `values` (distinct raw training values, None excluded)."""
        raise NotImplementedError(f"{cls.__name__} has no preprocessing")

    @classmethod
    def identity(cls, **options: Any) -> str | None:
        """A name for the function of raw values that an encoder with these options is, where nothing of it depends on
        data or seed: nothing is trained, and `fit_preprocess` learns nothing from `values`. It must change whenever an
        output could (weights, options, versions of libraries), for outputs are kept under it. None: no such function.

        Raises:
            ConfigError: the weights are not there.
        """
        return None

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`inputs` as `preprocess.signature` names them, each with a leading U axis -> Features of U items."""
        raise NotImplementedError(f"{type(self).__name__} has no forward pass")

    def train(self, mode: bool = True) -> Self:
        """As of every module, but `frozen` ones stay in evaluation mode: no dropout, no moving statistics."""
        super().train(mode)
        for module in self.frozen:
            module.training = False
        return self

    def layers(self) -> Sequence[nn.Module]:
        """The blocks from input to output; `last_k` tuning unfreezes the last k and whatever comes after them.

        What comes after is told by the order in which modules and parameters were registered.
        """
        return [self]
