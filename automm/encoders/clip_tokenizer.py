"""open_clip's tokenizers as a `tokenizers` tokenizer.json, so that serving needs no open_clip.

What is not carried over is ftfy's repair of wrongly decoded text, and HTML entities other than the five of XML.
"""

from __future__ import annotations

import string
from typing import Any, Literal

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

Clean = Literal["lower", "whitespace", "canonicalize"]

_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'"}
_STRAIGHT = {"[\u2018\u2019\u201a\u201b]": "'", "[\u201c\u201d\u201e\u201f]": '"'}  # ftfy's uncurling
_LIGATURES = {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl"}


def from_simple(simple: Any, clean: Clean = "lower") -> Tokenizer:
    """`open_clip.SimpleTokenizer` (the byte-level BPE of CLIP, Radford et al. 2021), start and end of text included."""
    merges = [(left, right) for left, right in simple.bpe_ranks]
    tokenizer = Tokenizer(
        models.BPE(vocab=simple.encoder, merges=merges, continuing_subword_prefix="", end_of_word_suffix="</w>")
    )
    start, end = (simple.decoder[at] for at in (simple.sot_token_id, simple.eot_token_id))
    tokenizer.add_special_tokens([simple.decoder[at] for at in simple.all_special_ids])
    tokenizer.normalizer = cleaning(clean)
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, simple.sot_token_id), (end, simple.eot_token_id)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def cleaned(tokenizer: Tokenizer, clean: Clean) -> Tokenizer:
    """A copy that cleans texts as open_clip does before its own normalisation."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    own = [copy.normalizer] if copy.normalizer is not None else []
    copy.normalizer = normalizers.Sequence([cleaning(clean), *own])
    return copy


def cleaning(clean: Clean) -> normalizers.Normalizer:
    """open_clip's `basic_clean` and then its cleaning of that name."""
    steps: list[normalizers.Normalizer] = [normalizers.NFC()]
    steps += [normalizers.Replace(Regex(old), new) for old, new in _STRAIGHT.items()]
    steps += [normalizers.Replace(old, new) for old, new in _LIGATURES.items()]
    for _ in range(2):  # open_clip unescapes twice
        steps += [normalizers.Replace(old, new) for old, new in _ENTITIES.items()]
    if clean == "canonicalize":
        steps.append(normalizers.Replace("_", " "))
        steps += [normalizers.Replace(mark, "") for mark in string.punctuation]
    steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    if clean != "whitespace":
        steps.append(normalizers.Lowercase())
    return normalizers.Sequence(steps)
