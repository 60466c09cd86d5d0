"""Any image model of timm, by name.

timm is imported where a model is made: a run that finds all features in the cache makes none.

Shape legend: U distinct images, C channels, H rows, W columns, N tokens, D width.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automm.encoders.encoder import Encoder
from automm.encoders.pooling import DEPTH, mean_and_maximum, side_by_side
from automm.encoders.shapes import output_shapes
from automm.encoders.tuning import TUNING, Tune, apply_tuning, frozen_identity, sequence_blocks
from automm.encoders.weights import Weights, loading, parse_weights
from automm.errors import ConfigError, UnknownComponent, near_miss
from automm.runtime.images import ImagePreprocess
from automm.runtime.preprocess import Preprocess
from automm.space import Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality

DEFAULT_MODEL = "tf_efficientnet_lite0"
Layout = Literal["NCHW", "NHWC", "NLC"]
Pooling = Literal["head", "layers"]


class Timm(Encoder):
    """A timm model without its classifier; the pixels are normalised with its own mean and deviation, in the graph.

    Tokens are what `forward_features` returns, whatever its layout (class tokens of a transformer included); `pooled`
    is what the model's own head makes of them before its classifier, or with `pooling=layers` that beside the mean and
    the maximum of each of the last three maps within the model, every piece standardised. Where the two differ in
    width, the narrower is padded with zeros.

    Options:
        model: a name `timm.list_models()` knows, with or without a tag. Weights from `hf-hub:` and `local-dir:` say
            themselves which model they are for.
        weights: null | default | hf-hub:org/name | local-dir:/path (with config.json) | file:/path.
        tune: frozen | last_k | full.
        last_k: the blocks that `tune=last_k` trains.
        pooling: head | layers.
        image_size: the square every image is resized to; None is the size the model was trained at.
        crop: cut the middle out as at the model's own evaluation, instead of squashing the image to a square.
    """

    MODALITIES: ClassVar[tuple[Modality, ...]] = ("image",)
    SPACE: ClassVar[Space] = TUNING

    @classmethod
    def fit_preprocess(
        cls,
        field: FieldSpec,
        values: Sequence[Any],
        *,
        model: str = DEFAULT_MODEL,
        weights: str | None = "default",
        image_size: int | None = None,
        crop: bool = False,
        **options: Any,
    ) -> Preprocess:
        """Resize to the model's own input size (or `image_size`) with its own interpolation."""
        config = pretrained_config(model, parse_weights(weights))
        size = tuple(config["input_size"][1:]) if image_size is None else (image_size, image_size)
        return ImagePreprocess(
            size=size,
            resample="bilinear" if config.get("interpolation") == "bilinear" else "bicubic",
            fit="center_crop" if crop else "squash",
            crop=float(config.get("crop_pct") or 1.0) if crop else 1.0,
        )

    @classmethod
    def identity(cls, **options: Any) -> str | None:
        """Of a frozen model from weights."""
        return frozen_identity(cls, options, ("timm", "pillow"), _hub_of)

    def __init__(
        self,
        field: FieldSpec,
        preprocess: Preprocess,
        *,
        model: str = DEFAULT_MODEL,
        weights: str | None = "default",
        tune: Tune = "frozen",
        last_k: int = 1,
        pooling: Pooling = "head",
        image_size: int | None = None,
        crop: bool = False,
    ) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ConfigError(f"pooling={pooling} is not allowed: one of {', '.join(get_args(Pooling))}")
        self.pooling: Pooling = pooling
        size = tuple(int(n) for n in preprocess.signature["pixels"].shape[1:])
        self.model: Any = create(model, parse_weights(weights), size)
        config = self.model.pretrained_cfg
        self.register_buffer("mean", 255 * torch.tensor(config["mean"])[:, None, None], persistent=False)
        self.register_buffer("deviation", 255 * torch.tensor(config["std"])[:, None, None], persistent=False)
        self.mean: Tensor
        self.deviation: Tensor
        tokens, pooled = output_shapes(self._encode, 2, 3, *size)
        self.layout: Layout = "NLC" if len(tokens) == 3 else getattr(self.model, "output_fmt", None) or "NCHW"
        width = tokens[1] if self.layout == "NCHW" else tokens[-1]
        at = {"NCHW": 2, "NHWC": 1}.get(self.layout)
        grid = None if at is None else (tokens[at], tokens[at + 1])
        self.spec = FeatureSpec(
            field.name, "image", max(width, pooled[-1]), prod(tokens[1:]) // width, has_tokens=True, grid=grid
        )
        apply_tuning(self, tune, last_k)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`pixels` uint8 [U, 3, H, W] -> Features of U images."""
        maps, pooled_UD = self._encode((inputs["pixels"].to(self.mean.dtype) - self.mean) / self.deviation)
        if self.layout == "NCHW":
            maps = maps.flatten(2).transpose(1, 2)
        elif self.layout == "NHWC":
            maps = maps.flatten(1, 2)
        mask_UN = torch.ones_like(maps[..., 0], dtype=torch.bool)
        return Features(self._padded(maps), mask_UN, self._padded(pooled_UD))

    def layers(self) -> Sequence[nn.Module]:
        """The blocks: what the model's sequences hold, or its parts where it has no sequence."""
        return sequence_blocks(self.model)

    def _encode(self, x_UCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pixels -> the last maps or tokens in the model's own layout, and the pooled vector."""
        if self.pooling == "head":
            maps = self.model.forward_features(x_UCHW)
            return maps, self.model.forward_head(maps, pre_logits=True)
        depth = min(DEPTH, len(self.model.feature_info))
        maps, within = self.model.forward_intermediates(x_UCHW, indices=depth, output_fmt="NCHW")
        pieces_UD = [self.model.forward_head(maps, pre_logits=True), *mean_and_maximum(within)]
        return maps, side_by_side(pieces_UD)

    def _padded(self, x: Tensor) -> Tensor:
        missing = self.spec.width - x.shape[-1]
        return F.pad(x, (0, missing)) if missing else x


def create(model: str, weights: Weights, size: tuple[int, ...]) -> Any:
    """The timm model without a classifier, in evaluation mode.

    Raises:
        UnknownComponent: timm knows no such model.
        ConfigError: the weights cannot be loaded, or the model does not take images of that size.
    """
    import timm

    config = pretrained_config(model, weights)
    options: dict[str, Any] = {"pretrained": weights.source != "none"}
    if weights.source == "file":
        options["pretrained_cfg_overlay"] = {"file": weights.ref}
    if size != tuple(config["input_size"][1:]) and config.get("fixed_input_size"):
        options["img_size"] = size
    name = str(weights) if weights.own_config else model
    with loading(f"timm model {model!r}", weights):
        try:  # with its own classifier, for only then does timm insist that the weights hold every tensor
            built = timm.create_model(name, **options)
            built.reset_classifier(0)
        except RuntimeError as error:
            if not _only_of_classifier(str(error), config):
                raise
            built = timm.create_model(name, num_classes=0, **options)
    return built.eval()


def pretrained_config(model: str, weights: Weights) -> dict[str, Any]:
    """timm's `pretrained_cfg` (input size, mean, deviation, ...) as `create` will have it; downloads no weights.

    Raises:
        UnknownComponent: timm knows no such model.
        ConfigError: the configuration of the weights cannot be read, or is of another model than the one named.
    """
    import timm

    if not weights.own_config:
        if not timm.is_model(model):
            raise UnknownComponent(f"timm has no model {model!r}. {near_miss(model, _alike(model))}")
        with loading(f"timm model {model!r}", weights):
            return dict(timm.get_pretrained_cfg(model, allow_unregistered=False).to_dict())
    with loading(f"timm model {model!r}", weights):
        if weights.source == "hf-hub":
            config, architecture, _ = timm.models.load_model_config_from_hf(weights.ref)
        else:
            stored = json.loads((weights.path / "config.json").read_text(encoding="utf-8"))
            config, architecture = stored.get("pretrained_cfg", stored), stored["architecture"]
    named = model.partition(".")[0]
    if named not in (DEFAULT_MODEL, architecture):
        raise ConfigError(f"weights={weights} is a {architecture}, and model={model}. Next: leave out one of the two.")
    return {**timm.models.PretrainedCfg().to_dict(), **config}


def _only_of_classifier(complaint: str, config: Mapping[str, Any]) -> bool:
    """Whether all that `load_state_dict` complains of is a classifier that is missing or of other classes."""
    named = config.get("classifier") or ()
    classifiers = (named,) if isinstance(named, str) else tuple(named)
    keys = [a or b for a, b in re.findall(r'"([\w.]+)"|size mismatch for ([\w.]+):', complaint)]
    return bool(keys) and all(key.rpartition(".")[0] in classifiers for key in keys)


def _hub_of(model: str) -> str | None:
    """The hub's repository of the weights that a model's name stands for."""
    return pretrained_config(model, Weights("default")).get("hf_hub_id")


def _alike(model: str) -> list[str]:
    import timm

    return difflib.get_close_matches(model, timm.list_models(), n=6, cutoff=0.4)
