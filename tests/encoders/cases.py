"""Every encoder in its variants, on tiny shapes: what the contract and export tests run over."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from automm import registry
from automm.types import FieldSpec

TEXTS = ["is the red cat left?", "the dog", "a blue cat is a cat is a cat", "red"]
IMAGES = list(np.random.default_rng(0).integers(0, 256, (4, 20, 28, 3), np.uint8))
VALUES = {
    "image": IMAGES,
    "text": TEXTS,
    "numeric": [0.5, -3, 12.25, 1e3],
    "categorical": ["red", "blue", "other", "1"],
}


@dataclass(frozen=True)
class Case:
    """One encoder and its options; `folder` names the fixture whose path follows `local-dir:` as its weights."""

    encoder: str
    modality: str
    options: dict[str, Any] = field(default_factory=dict)
    folder: str | None = None

    def build(self, request, **more):
        """(encoder in evaluation mode, preprocessing), seeded."""
        options = {**self.options, **more}
        if self.folder:
            options["weights"] = f"local-dir:{request.getfixturevalue(self.folder)}"
        return build(self.encoder, self.modality, **options)

    @property
    def values(self):
        return VALUES[self.modality]


CASES = {
    "convnet": Case("convnet", "image"),
    "convnet with everything": Case(
        "convnet", "image", {"slots": 5, "context_layers": 1, "width": 32, "depth": 2, "dropout": 0.1}
    ),
    "convnet with nothing": Case(
        "convnet", "image", {"image_size": 16, "width": 16, "positions": False, "coordinates": False}
    ),
    "text_transformer": Case("text_transformer", "text", {"width": 32}),
    "bag of embeddings": Case("text_transformer", "text", {"width": 32, "layers": 0, "pooling": "mean"}),
    "ngrams": Case("ngrams", "text", {"width": 512}),
    "timm NLC": Case("timm", "image", {"model": "test_vit", "weights": None, "image_size": 48}),
    "timm NCHW": Case("timm", "image", {"model": "test_efficientnet", "weights": None, "image_size": 64}),
    "timm NHWC": Case("timm", "image", {"model": "test_mambaout", "weights": None, "image_size": 64}),
    "timm NCHW layers": Case(
        "timm", "image", {"model": "test_efficientnet", "weights": None, "image_size": 64, "pooling": "layers"}
    ),
    "timm NLC layers": Case(
        "timm", "image", {"model": "test_vit", "weights": None, "image_size": 48, "pooling": "layers"}
    ),
    "transformers": Case("transformers", "text", {}, "tiny_bert"),
    "transformers layers": Case("transformers", "text", {"pooling": "layers"}, "tiny_bert"),
    "transformers cls": Case("transformers", "text", {"pooling": "cls"}, "tiny_bert"),
    "open_clip_image": Case("open_clip_image", "image", {}, "tiny_clip"),
    "open_clip_text": Case("open_clip_text", "text", {}, "tiny_clip"),
    "open_clip_text on transformers": Case("open_clip_text", "text", {}, "tiny_clip_on_bert"),
    "periodic": Case("periodic", "numeric"),
    "embedding": Case("embedding", "categorical"),
}


def build(name, modality, *, values=None, **options):
    """(encoder in evaluation mode, preprocessing), seeded."""
    factory = registry.get("encoder", name).factory
    spec = FieldSpec("thing", modality)
    seen = values if values is not None else VALUES[modality]
    preprocess = factory.fit_preprocess(spec, seen, **options)
    torch.manual_seed(0)
    return factory(spec, preprocess, **options).eval(), preprocess


def inputs(preprocess, values):
    """Raw values -> what an encoder reads."""
    return {name: torch.from_numpy(array) for name, array in preprocess(values).items()}
