"""The scikit-learn probe: logistic regression on frozen features of both encoders, the same weights as everyone's.

python tools/benchmark/emoji/probe.py --set /tmp/emoji --weights /tmp/weights --out /tmp/probe
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

STRENGTHS = (0.1, 1.0)  # of which cross-validation, emoji kept together, chooses
SPLITS = ("train", "same_vendors", "other_vendors")
Rows = list[dict[str, str]]


def features(rows: Rows, folder: Path, weights: Path) -> dict[str, np.ndarray]:
    """Pooled image and text features, [rows, D] each."""
    return {"image": _images(rows, folder, weights / "effnet"), "text": _texts(rows, weights / "minilm")}


def _images(rows: Rows, folder: Path, weights: Path) -> np.ndarray:
    overlay = {"file": str(weights / "model.safetensors")}
    net = timm.create_model("tf_efficientnet_lite0", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net), is_training=False)
    out = []
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            pictures = [_on_white(folder / row["image"]) for row in rows[start : start + 64]]
            out.append(net.eval()(torch.stack([transform(picture) for picture in pictures])).numpy())
    return np.concatenate(out)


def _texts(rows: Rows, weights: Path) -> np.ndarray:
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(weights, local_files_only=True).eval()
    out = []
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            names = [row["name"] for row in rows[start : start + 64]]
            batch = tokenizer(names, padding=True, return_tensors="pt")
            hidden, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
            out.append(((hidden * mask).sum(1) / mask.sum(1)).numpy())
    return np.concatenate(out)


def _on_white(path: Path) -> Image.Image:
    with Image.open(path) as image:
        drawn = image.convert("RGBA")
    white = Image.new("RGBA", drawn.size, "white")
    return Image.alpha_composite(white, drawn).convert("RGB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("set", "weights", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    asked = parser.parse_args()
    began = time.perf_counter()
    tables: dict[str, Rows] = {}
    for split in SPLITS:
        with (asked.set / f"{split}.csv").open(encoding="utf-8", newline="") as stream:
            tables[split] = list(csv.DictReader(stream))
    found = {split: features(rows, asked.set, asked.weights) for split, rows in tables.items()}
    asked.out.mkdir(parents=True, exist_ok=True)
    answers, strength = {}, None
    wanted, emoji = ([row[key] for row in tables["train"]] for key in ("subcategory", "unified"))
    for kind in ("both", "image", "text"):
        parts = ("image", "text") if kind == "both" else (kind,)
        x = {split: np.concatenate([found[split][part] for part in parts], axis=1) for split in SPLITS}
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength or 1.0, max_iter=300))
        if strength is None:
            search = GridSearchCV(model, {"logisticregression__C": STRENGTHS}, cv=GroupKFold(3))
            model = search.fit(x["train"], wanted, groups=emoji).best_estimator_
            strength = search.best_params_["logisticregression__C"]
        else:
            model.fit(x["train"], wanted)
        answers[kind] = {split: model.predict(x[split]).tolist() for split in SPLITS[1:]}
    versions = {name: version(name) for name in ("scikit-learn", "torch", "timm", "transformers")}
    text = json.dumps({"seconds": time.perf_counter() - began, "versions": versions, "answers": answers})
    (asked.out / "answers.json").write_text(text, encoding="utf-8")
