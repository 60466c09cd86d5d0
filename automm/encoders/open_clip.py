"""The image and text towers of open_clip's models.

Shape legend: U distinct items, N tokens of an image, L tokens of a text, D width (the joint embedding's).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.timm_model import TimmModel
from open_clip.transformer import text_global_pool
from torch import Tensor, nn

from automm.encoders.encoder import Encoder
from automm.encoders.open_clip_loading import DEFAULT_MODEL, create, default_hub, model_config, tokenizer_of
from automm.encoders.shapes import output_shapes
from automm.encoders.tuning import TUNING, Tune, apply_tuning, frozen_identity, longest_list, sequence_blocks
from automm.encoders.weights import parse_weights
from automm.errors import ConfigError
from automm.runtime.images import ImagePreprocess
from automm.runtime.preprocess import Preprocess
from automm.runtime.texts import TextPreprocess
from automm.space import Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality

PACKAGES = ("open-clip-torch", "timm", "transformers", "tokenizers", "pillow")  # what outputs depend on


class OpenClipImage(Encoder):
    """The image tower (Radford et al. 2021, arXiv:2103.00020), normalising pixels in the graph.

    `pooled` is the image's embedding; tokens are the patches projected by the same matrix, where the tower is
    open_clip's own transformer, else the embedding is the only one.

    Options:
        model: a name `open_clip.list_models()` knows. Weights from `hf-hub:` and `local-dir:` bring their own model.
        weights: null | default (the first that open_clip lists for the model) | hf-hub:org/name |
            local-dir:/path (with open_clip_config.json) | file:/path.
        tune: frozen | last_k | full.
        last_k: the blocks that `tune=last_k` trains.
        image_size: the square every image is resized to; None is the size the model was trained at.
        crop: cut the middle square out instead of squashing the image to one.
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
        config = model_config(model, parse_weights(weights))
        size = config["model_cfg"]["vision_cfg"].get("image_size", 224) if image_size is None else image_size
        return ImagePreprocess(
            size=(size, size) if isinstance(size, int) else tuple(size),
            resample="bilinear" if config["preprocess_cfg"].get("interpolation") == "bilinear" else "bicubic",
            fit="center_crop" if crop else "squash",
        )

    @classmethod
    def identity(cls, **options: Any) -> str | None:
        """Of a frozen tower from weights."""
        return frozen_identity(cls, options, PACKAGES, default_hub)

    def __init__(
        self,
        field: FieldSpec,
        preprocess: Preprocess,
        *,
        model: str = DEFAULT_MODEL,
        weights: str | None = "default",
        tune: Tune = "frozen",
        last_k: int = 1,
        image_size: int | None = None,
        crop: bool = False,
    ) -> None:
        super().__init__()
        size = tuple(int(n) for n in preprocess.signature["pixels"].shape[1:])
        source = parse_weights(weights)
        if source.source == "none":  # spare what is thrown away, and the download of a text tower's configuration
            unused = {"text_cfg": {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}}
        else:
            unused = {}
        self.tower: Any = create(model, source, force_image_size=image_size, **unused).visual
        config = self.tower.preprocess_cfg
        self.register_buffer("mean", 255 * torch.tensor(config["mean"])[:, None, None], persistent=False)
        self.register_buffer("deviation", 255 * torch.tensor(config["std"])[:, None, None], persistent=False)
        self.mean: Tensor
        self.deviation: Tensor
        self.has_tokens = hasattr(self.tower, "output_tokens")
        self.projection: nn.Module = nn.Identity()
        if self.has_tokens:
            self.tower.output_tokens = True
            self.projection, self.tower.proj = _as_module(self.tower.proj), None
        tokens, pooled = output_shapes(self._encode, 2, 3, *size)
        self.spec = FeatureSpec(field.name, "image", pooled[-1], tokens[1], self.has_tokens)
        apply_tuning(self, tune, last_k)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`pixels` uint8 [U, 3, H, W] -> Features of U images."""
        x_UCHW = (inputs["pixels"].to(self.mean.dtype) - self.mean) / self.deviation
        tokens_UND, pooled_UD = self._encode(x_UCHW)
        return Features(tokens_UND, torch.ones_like(tokens_UND[..., 0], dtype=torch.bool), pooled_UD)

    def layers(self) -> Sequence[nn.Module]:
        """The transformer blocks, or the stages of a tower that is none."""
        if self.has_tokens:
            return longest_list(self.tower)
        return sequence_blocks(self.tower.trunk if isinstance(self.tower, TimmModel) else self.tower)

    def _encode(self, x_UCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pixels -> tokens [U, N, D] and pooled [U, D]."""
        if not self.has_tokens:
            pooled_UD = self.tower(x_UCHW)
            return pooled_UD[:, None], pooled_UD
        pooled_UD, tokens_UND = self.tower(x_UCHW)
        if self.tower.final_ln_after_pool:
            tokens_UND = self.tower.ln_post(tokens_UND)
        return self.projection(tokens_UND), self.projection(pooled_UD)


class OpenClipText(Encoder):
    """The text tower (Radford et al. 2021, arXiv:2103.00020).

    `pooled` is the text's embedding; tokens are the last hidden states projected as it is.

    Options:
        model: a name `open_clip.list_models()` knows. Weights from `hf-hub:` and `local-dir:` bring their own model.
        weights: null | default (the first that open_clip lists for the model) | hf-hub:org/name |
            local-dir:/path (with open_clip_config.json) | file:/path.
        tune: frozen | last_k | full.
        last_k: the blocks that `tune=last_k` trains.
        max_length: tokens kept of a text, special ones included; None is what the model was trained with.
    """

    MODALITIES: ClassVar[tuple[Modality, ...]] = ("text",)
    SPACE: ClassVar[Space] = TUNING

    @classmethod
    def fit_preprocess(
        cls,
        field: FieldSpec,
        values: Sequence[Any],
        *,
        model: str = DEFAULT_MODEL,
        weights: str | None = "default",
        max_length: int | None = None,
        **options: Any,
    ) -> Preprocess:
        """The model's own tokenizer; padded to full length where the tower's result depends on the padding."""
        source = parse_weights(weights)
        config = model_config(model, source)["model_cfg"]["text_cfg"]
        context = int(config.get("context_length", 77))
        fixed = not config.get("hf_model_name") and bool(
            config.get("no_causal_mask") or config.get("embed_cls") or config.get("pool_type") == "last"
        )
        length = context if fixed or max_length is None else min(max_length, context)
        tokenizer, pad_id = tokenizer_of(model, source, config)
        return TextPreprocess(tokenizer=tokenizer, max_length=length, pad_id=pad_id, fixed=fixed)

    @classmethod
    def identity(cls, **options: Any) -> str | None:
        """Of a frozen tower from weights."""
        return frozen_identity(cls, options, PACKAGES, default_hub)

    def __init__(
        self,
        field: FieldSpec,
        preprocess: Preprocess,
        *,
        model: str = DEFAULT_MODEL,
        weights: str | None = "default",
        tune: Tune = "frozen",
        last_k: int = 1,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(preprocess, TextPreprocess):
            raise ConfigError(f"open_clip_text reads texts, not what {type(preprocess).__name__} makes")
        self.tower: Any = create(model, parse_weights(weights)).text
        self.fixed = preprocess.fixed
        self.projection: nn.Module = nn.Identity()
        width = self.tower.output_dim
        if not self._hf:
            width = self.tower.width if self.tower.text_projection is None else width
            self.tower.output_tokens = True
            self.projection, self.tower.text_projection = _as_module(self.tower.text_projection), None
        self.spec = FeatureSpec(field.name, "text", width, preprocess.max_length, has_tokens=True)
        apply_tuning(self, tune, last_k)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`ids` int64 [U, L] and `mask` bool [U, L] -> Features of U texts."""
        ids_UL, mask_UL = inputs["ids"], inputs["mask"]
        if self._hf:
            attention_UL = mask_UL.long()
            hidden = self.tower.transformer(input_ids=ids_UL, attention_mask=attention_UL)
            pooled_UD = self.tower.proj(self.tower.pooler(hidden, attention_UL))
            return Features(self.tower.proj(hidden.last_hidden_state), mask_UL, pooled_UD)
        tokens_ULD, pooled_UD = self._padded(ids_UL) if self.fixed else self._causal(ids_UL)
        return Features(self.projection(tokens_ULD), mask_UL, self.projection(pooled_UD))

    def layers(self) -> Sequence[nn.Module]:
        """The transformer blocks."""
        return longest_list(self.tower)

    def _padded(self, ids_UL: Tensor) -> tuple[Tensor, Tensor]:
        """Ids of full length -> tokens [U, L, W] and pooled [U, W]."""
        pooled_UW, tokens_ULW = self.tower(ids_UL)
        return tokens_ULW, pooled_UW

    def _causal(self, ids_UL: Tensor) -> tuple[Tensor, Tensor]:
        """The same where nothing depends on the padding after a text: any L will do, and most texts are short."""
        tower, length = self.tower, ids_UL.shape[1]
        x_ULW = tower.token_embedding(ids_UL) + tower.positional_embedding[:length]
        x_ULW = tower.ln_final(tower.transformer(x_ULW, attn_mask=tower.attn_mask[:length, :length]))
        return x_ULW, text_global_pool(x_ULW, ids_UL, tower.pool_type, eos_token_id=tower.eos_id)

    @property
    def _hf(self) -> bool:
        return isinstance(self.tower, HFTextEncoder)


def _as_module(projection: Any) -> nn.Module:
    """A tower's projection as a module of its own, so that it is registered after the blocks it comes after."""
    if not isinstance(projection, nn.Parameter):
        return nn.Identity() if projection is None else projection
    width, out = projection.shape
    linear = nn.Linear(width, out, bias=False)
    linear.weight = nn.Parameter(projection.detach().T.contiguous())
    return linear
