"""AutoGluon MultiModal on the emoji set, with the same weights; in a virtual environment of its own.

compare.py makes one, or by hand:

python3 -m venv ag && ag/bin/pip install "autogluon.multimodal==1.6.*" "torch==2.12.*" "torchvision==0.27.*"
ag/bin/python tools/benchmark/emoji/autogluon_peer.py --set /tmp/emoji --weights /tmp/weights --out /tmp/ag

Settings are the best of those that docs/benchmarks.md names, for two cores and 300 s: pictures of 128 pixels, batches
of 32, and few epochs, for the learning rate falls over all of them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from autogluon.multimodal import MultiModalPredictor

TYPES = {"image": "image_path", "name": "text"}
KINDS = {  # columns, models, epochs
    "both": (["image", "name"], ["timm_image", "hf_text", "fusion_mlp"], 8),
    "text": (["name"], ["hf_text"], 12),
}
PIXELS = 128

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("set", "weights", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    tables = {split: pd.read_csv(asked.set / f"{split}.csv") for split in ("train", "same_vendors", "other_vendors")}
    for table in tables.values():
        table["image"] = [str(asked.set / path) for path in table["image"]]
    emoji = tables["train"]["unified"].drop_duplicates().sample(frac=0.15, random_state=asked.seed)
    held = tables["train"]["unified"].isin(emoji)
    classes = tables["train"]["subcategory"]
    held &= classes.isin(classes[~held])  # it takes no class to validate that it has not been trained on
    answers, seconds = {}, {}
    for kind, (columns, models, epochs) in KINDS.items():
        began = time.perf_counter()
        shutil.rmtree(asked.out / kind, ignore_errors=True)
        predictor = MultiModalPredictor(label="subcategory", path=str(asked.out / kind))
        places = {
            "model.timm_image.checkpoint_name": str(asked.weights / "effnet"),
            "model.timm_image.image_size": PIXELS,
            "model.timm_image.image_norm": "inception",  # mean and std 0.5, as those weights expect
        }
        predictor.fit(
            tables["train"].loc[~held, [*columns, "subcategory"]],
            tuning_data=tables["train"].loc[held, [*columns, "subcategory"]],
            column_types={column: TYPES[column] for column in columns},  # it takes names for categories
            time_limit=asked.seconds,
            seed=asked.seed,
            hyperparameters={
                "model.names": models,
                **(places if "image" in columns else {}),
                "model.hf_text.checkpoint_name": str(asked.weights / "minilm"),
                "model.hf_text.pooling_mode": "mean",
                "optim.lr": 5e-4,
                "optim.lr_choice": "single_stage",
                "optim.max_epochs": epochs,
                "optim.val_check_interval": 1.0,
                "env.batch_size": 32,
                "env.per_gpu_batch_size": 32,
                "env.precision": "32",
                "env.num_workers": 0,
                "env.num_workers_inference": 0,
            },
        )
        answers[kind] = {
            split: predictor.predict(tables[split][columns]).tolist() for split in ("same_vendors", "other_vendors")
        }
        seconds[kind] = time.perf_counter() - began
    versions = {name: version(name) for name in ("autogluon.multimodal", "torch", "timm", "transformers")}
    text = json.dumps({"seconds": seconds, "versions": versions, "answers": answers})
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "answers.json").write_text(text, encoding="utf-8")
