"""Any text model of Hugging Face transformers, by name or folder.

transformers is imported where a model or a tokenizer is: a run that finds all features in the cache needs neither.

Shape legend: U distinct texts, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automm.encoders.attention import masked_mean
from automm.encoders.encoder import Encoder
from automm.encoders.pooling import DEPTH, side_by_side
from automm.encoders.tuning import TUNING, Tune, apply_tuning, frozen_identity, longest_list
from automm.encoders.weights import Weights, content, load_state, loading, on_this_machine, parse_weights, revision
from automm.errors import ConfigError
from automm.runtime.preprocess import Preprocess
from automm.runtime.texts import TextPreprocess
from automm.space import Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality

Pooling = Literal["mean", "cls", "layers"]
DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


class Transformers(Encoder):
    """A text model through AutoModel; of an encoder-decoder the encoder. Its fast tokenizer becomes a tokenizer.json.

    Tokens are the last hidden states; `pooled` is their mean over valid tokens, or the first of them, or with
    `pooling=layers` that mean for each of the last three layers, every piece standardised. Where the two differ in
    width, tokens are padded with zeros.

    Options:
        model: a name on the hub or a local folder. Weights from `hf-hub:` and `local-dir:` bring their own model.
        weights: null | default | hf-hub:org/name | local-dir:/path | file:/path. null and `file:` take configuration
            and tokenizer from `model`, null from a folder or the local hub cache alone.
        tune: frozen | last_k | full.
        last_k: the blocks that `tune=last_k` trains.
        pooling: mean | cls (the first token) | layers.
        max_length: tokens kept of a text, special ones included; never more than the model can take.
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
        max_length: int = 128,
        **options: Any,
    ) -> Preprocess:
        """The model's own tokenizer.

        Raises:
            ConfigError: the tokenizer cannot be loaded, or is none that `tokenizers` can run.
        """
        import transformers

        source = parse_weights(weights)
        where = located(model, source)
        with loading(f"the tokenizer of {where['pretrained_model_name_or_path']!r}", source):
            tokenizer = transformers.AutoTokenizer.from_pretrained(**where, use_fast=True)
            config = transformers.AutoConfig.from_pretrained(**where)
        limits = (max_length, tokenizer.model_max_length, getattr(config, "max_position_embeddings", None))
        return fast_preprocess(tokenizer, min(limit for limit in limits if limit))

    @classmethod
    def identity(cls, **options: Any) -> str | None:
        """Of a frozen model from weights; of a model that is a folder, what it holds."""
        return hub_identity(cls, DEFAULT_MODEL, options, ("transformers", "tokenizers"))

    def __init__(
        self,
        field: FieldSpec,
        preprocess: Preprocess,
        *,
        model: str = DEFAULT_MODEL,
        weights: str | None = "default",
        tune: Tune = "frozen",
        last_k: int = 1,
        pooling: Pooling = "mean",
        max_length: int = 128,
    ) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ConfigError(f"pooling={pooling} is not allowed: one of {', '.join(get_args(Pooling))}")
        if not isinstance(preprocess, TextPreprocess):
            raise ConfigError(f"transformers reads texts, not what {type(preprocess).__name__} makes")
        self.model: Any = create(model, parse_weights(weights))
        self.pooling = pooling
        self.depth = min(DEPTH, len(self.layers())) if pooling == "layers" else 1
        width = self.model.config.hidden_size * self.depth
        self.spec = FeatureSpec(field.name, "text", width, preprocess.max_length, has_tokens=True)
        apply_tuning(self, tune, last_k)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`ids` int64 [U, L] and `mask` bool [U, L] -> Features of U texts."""
        mask_UL = inputs["mask"]
        ids, layers = inputs["ids"], self.pooling == "layers"
        found = self.model(input_ids=ids, attention_mask=mask_UL.long(), output_hidden_states=layers)
        x_ULD = found.last_hidden_state
        if layers:
            within = (*found.hidden_states[:-1], x_ULD)[-self.depth :]  # some models norm the last one afterwards
            pooled_UD = side_by_side([masked_mean(each, mask_UL) for each in within])
            return Features(F.pad(x_ULD, (0, self.spec.width - x_ULD.shape[-1])), mask_UL, pooled_UD)
        return Features(x_ULD, mask_UL, x_ULD[:, 0] if self.pooling == "cls" else masked_mean(x_ULD, mask_UL))

    def layers(self) -> Sequence[nn.Module]:
        """The transformer blocks: the longest list of modules the model holds."""
        return longest_list(self.model)


def hub_identity(cls: type[Encoder], default: str, options: Mapping[str, Any], packages: Sequence[str]) -> str | None:
    """The `identity` of an encoder whose `model` is a name on the hub or a folder.

    Args:
        cls: as `frozen_identity` takes it.
        default: its `model` where none is given.
        options: as given.
        packages: the distributions whose code computes the outputs, beside torch.

    Raises:
        ConfigError: the weights are not there.
    """
    given = dict(options)
    model = str(given.get("model", default))
    folder, source = Path(model).expanduser().absolute(), parse_weights(given.get("weights", "default")).source
    if folder.is_dir():
        given["model"] = content(Weights("local-dir", str(folder)))
        given["weights"] = f"local-dir:{folder}" if source == "default" else given["weights"]
    elif source == "file":  # configuration and preprocessing are the hub's
        given["model"] = f"{model} {revision(model)}"
    return frozen_identity(cls, given, packages, lambda _: model)


def create(model: str, weights: Weights) -> Any:
    """The transformer in evaluation mode, 32-bit.

    Raises:
        ConfigError: configuration or weights cannot be loaded, or the weights lack some of the model's tensors.
    """
    import transformers

    where, options = located(model, weights), {"attn_implementation": "sdpa", "dtype": torch.float32}
    with loading(f"the model {where['pretrained_model_name_or_path']!r}", weights), _without_progress_bars():
        if weights.source == "none":
            config = transformers.AutoConfig.from_pretrained(**where)
            return encoder_of(transformers.AutoModel.from_config(config, **options)).eval()
        if weights.source == "file":
            config = transformers.AutoConfig.from_pretrained(**where)
            with torch.device("meta"):
                architecture = type(transformers.AutoModel.from_config(config))
            where = {"pretrained_model_name_or_path": None, "config": config, "state_dict": load_state(weights.path)}
        else:
            architecture = transformers.AutoModel
        built, found = architecture.from_pretrained(**where, **options, output_loading_info=True)
    missing = sorted(key for key in found["missing_keys"] if "pooler" not in key)  # a head that nothing here reads
    if missing:
        raise ConfigError(
            f"weights={weights} lack {len(missing)} of the tensors of {model!r}, {missing[0]!r} among them. "
            "Next: weights of this very model."
        )
    return encoder_of(built).eval()


def encoder_of(built: Any) -> Any:
    """The model, or the encoder of an encoder-decoder."""
    return built.get_encoder() if getattr(built.config, "is_encoder_decoder", False) else built


def fast_preprocess(tokenizer: Any, max_length: int) -> TextPreprocess:
    """A fast tokenizer of transformers as a preprocessing that needs no transformers.

    Raises:
        ConfigError: it has no fast form.
    """
    if not tokenizer.is_fast:
        raise ConfigError(
            f"{type(tokenizer).__name__} of {tokenizer.name_or_path!r} has no fast form, and serving runs tokenizers "
            "alone. Next: a model that ships a tokenizer.json."
        )
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
    return TextPreprocess(tokenizer=tokenizer.backend_tokenizer, max_length=max_length, pad_id=pad_id)


def located(model: str, weights: Weights) -> dict[str, Any]:
    """Arguments of `from_pretrained` that say where a model's configuration and that of its preprocessing lie.

    Raises:
        ConfigError: null weights, and a model that is not on this machine.
    """
    name = weights.ref if weights.own_config else model
    if weights.source == "none":
        name = str(on_this_machine(model))
    local = Path(name).expanduser().is_dir()
    return {"pretrained_model_name_or_path": name, "local_files_only": local, "trust_remote_code": False}


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
