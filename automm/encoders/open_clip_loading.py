"""open_clip's models, configurations and tokenizers, from the one `weights` field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import open_clip
import transformers
from huggingface_hub import hf_hub_download
from open_clip.tokenizer import SimpleTokenizer

from automm.encoders.clip_tokenizer import cleaned, from_simple
from automm.encoders.weights import Weights, loading, on_this_machine
from automm.errors import ConfigError, UnknownComponent, near_miss

DEFAULT_MODEL = "ViT-B-32"


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
    described = (open_clip.get_model_config(model) or {}).get("text_cfg", {}).get("hf_model_name")
    if weights.source == "none" and described and "text_cfg" not in options:
        raise ConfigError(
            f"weights=null does no network I/O, and the text tower of {model!r} is described on the hub as "
            f"{described!r}. Next: weights=default, or the encoder transformers with that model's folder."
        )
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
        described = open_clip.get_model_config(_known(model))
        tagged = weights.source == "default"
        return {
            "model_cfg": described,
            "preprocess_cfg": open_clip.get_pretrained_cfg(model, default_tag(model)) if tagged else {},
        }


def default_tag(model: str) -> str:
    """The pretrained weights that open_clip lists first for a model.

    Raises:
        ConfigError: it lists none.
    """
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tags:
        raise ConfigError(f"open_clip has no weights for {model!r}. Next: weights=hf-hub:org/name, or weights=null.")
    return str(tags[0])


def default_hub(model: str) -> str | None:
    """The hub's repository of the weights that open_clip lists first for a model; None where it names none."""
    repository = str(open_clip.get_pretrained_cfg(_known(model), default_tag(model)).get("hf_hub") or "")
    return "/".join(repository.split("/")[:2]) or None


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
    if weights.source == "none":
        name = str(on_this_machine(hub_name))
    options |= {"local_files_only": weights.source in ("none", "local-dir"), "trust_remote_code": False}
    with loading(f"the tokenizer {name!r}", weights):
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
    return cleaned(tokenizer.backend_tokenizer, clean), int(tokenizer.pad_token_id or 0)


def _known(model: str) -> str:
    if model not in open_clip.list_models():
        raise UnknownComponent(f"open_clip has no model {model!r}. {near_miss(model, open_clip.list_models())}")
    return model
