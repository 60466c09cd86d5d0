"""The image and text towers of open_clip's models.

Shape legend: U distinct items, N tokens of an image, L tokens of a text, D width (the joint embedding's).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import open_clip
import torch
import transformers
from huggingface_hub import hf_hub_download
from open_clip.hf_model import HFTextEncoder
from open_clip.timm_model import TimmModel
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import text_global_pool
from torch import Tensor, nn

from automm.encoders.clip_tokenizer import cleaned, from_simple
from automm.encoders.encoder import Encoder
from automm.encoders.shapes import output_shapes
from automm.encoders.tuning import TUNING, Tune, apply_tuning, longest_list, sequence_blocks
from automm.encoders.weights import Weights, loading, parse_weights
from automm.errors import ConfigError, UnknownComponent, near_miss
from automm.runtime.images import ImagePreprocess
from automm.runtime.preprocess import Preprocess
from automm.runtime.texts import TextPreprocess
from automm.space import Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality

DEFAULT_MODEL = "ViT-B-32"


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
        self.tower: Any = create(model, parse_weights(weights), force_image_size=image_size).visual
        config = self.tower.preprocess_cfg
        self.register_buffer("mean", 255 * torch.tensor(config["mean"])[:, None, None], persistent=False)
        self.register_buffer("deviation", 255 * torch.tensor(config["std"])[:, None, None], persistent=False)
        self.mean: Tensor
        self.deviation: Tensor
        self.has_tokens = hasattr(self.tower, "output_tokens")
        self.projection: Any = None
        if self.has_tokens:
            self.tower.output_tokens = True
            # registered after the blocks, as it comes after them
            self.projection, self.tower.proj = self.tower.proj, None
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
        return _projected(tokens_UND, self.projection), _projected(pooled_UD, self.projection)


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
        self.projection: Any = None
        if not self._hf:
            self.tower.output_tokens = True
            # registered after the blocks, as it comes after them
            self.projection, self.tower.text_projection = self.tower.text_projection, None
        width = self.tower.output_dim if self.projection is not None or self._hf else self.tower.width
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
        return Features(_projected(tokens_ULD, self.projection), mask_UL, _projected(pooled_UD, self.projection))

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


def create(model: str, weights: Weights, **options: Any) -> Any:
    """The two-tower model in evaluation mode, its text tower a module of its own.

    Raises:
        UnknownComponent: open_clip knows no such model.
        ConfigError: the weights cannot be loaded.
    """
    options |= {"force_custom_text": True, "pretrained_text": False, "require_pretrained": weights.source != "none"}
    if weights.own_config:
        name = str(weights)
    else:
        name = _known(model)
        tag = default_tag(model) if weights.source == "default" else None
        options["pretrained"] = tag or weights.ref or None
        options["force_quick_gelu"] = bool(tag and open_clip.get_pretrained_cfg(model, tag).get("quick_gelu"))
    with loading(f"open_clip model {model!r}", weights):
        return open_clip.create_model(name, **options).eval()


def model_config(model: str, weights: Weights) -> dict[str, Any]:
    """`model_cfg` and `preprocess_cfg` as `create` will have them; downloads no weights.

    Raises:
        UnknownComponent: open_clip knows no such model.
        ConfigError: the configuration of the weights cannot be read.
    """
    with loading(f"open_clip model {model!r}", weights):
        if weights.own_config:
            file = "open_clip_config.json"
            path = weights.path / file if weights.source == "local-dir" else hf_hub_download(weights.ref, file)
            with open(path, encoding="utf-8") as stored:  # noqa: PTH123  (a str or a Path)
                config = json.load(stored)
            return {"model_cfg": config["model_cfg"], "preprocess_cfg": config.get("preprocess_cfg", {})}
        preprocess = (
            open_clip.get_pretrained_cfg(_known(model), default_tag(model)) if weights.source == "default" else {}
        )
        return {"model_cfg": open_clip.get_model_config(model), "preprocess_cfg": preprocess}


def default_tag(model: str) -> str:
    """The pretrained weights that open_clip lists first for a model.

    Raises:
        ConfigError: it lists none.
    """
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tags:
        raise ConfigError(f"open_clip has no weights for {model!r}. Next: weights=hf-hub:org/name, or weights=null.")
    return str(tags[0])


def tokenizer_of(model: str, weights: Weights, text_cfg: Mapping[str, Any]) -> tuple[Any, int]:
    """The tokenizer of a model's text tower as one of `tokenizers`, and its padding id.

    Raises:
        ConfigError: it cannot be loaded, or `tokenizers` cannot do what it does.
    """
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    hub_name = text_cfg.get("hf_tokenizer_name")
    if not hub_name:
        clean = options.pop("clean", "lower")
        return from_simple(SimpleTokenizer(**options), clean), 0
    if text_cfg.get("tokenizer_mode") or options.pop("strip_sep_token", False):
        raise ConfigError(f"the tokenizer of open_clip model {model!r} edits its output in ways that serving cannot.")
    clean = options.pop("clean", "whitespace")
    name = weights.ref if weights.source == "local-dir" else hub_name
    with loading(f"the tokenizer {name!r}", weights):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            name, local_files_only=weights.source in ("none", "local-dir"), trust_remote_code=False, **options
        )
    return cleaned(tokenizer.backend_tokenizer, clean), int(tokenizer.pad_token_id or 0)


def _known(model: str) -> str:
    if model not in open_clip.list_models():
        raise UnknownComponent(f"open_clip has no model {model!r}. {near_miss(model, open_clip.list_models())}")
    return model


def _projected(x: Tensor, projection: Any) -> Tensor:
    if projection is None:
        return x
    made: Tensor = projection(x) if isinstance(projection, nn.Module) else x @ projection
    return made
