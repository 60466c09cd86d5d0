"""AutoGluon MultiModal on the emoji set, with the same weights; in a virtual environment of its own.

python3 -m venv ag && ag/bin/pip install autogluon.multimodal
ag/bin/python tools/benchmark/emoji/autogluon_peer.py --set /tmp/emoji --weights /tmp/weights --out /tmp/ag
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pandas as pd
from autogluon.multimodal import MultiModalPredictor

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
    columns = ["image", "name", "subcategory"]
    began = time.perf_counter()
    predictor = MultiModalPredictor(label="subcategory", path=str(asked.out / "model"))
    predictor.fit(
        tables["train"].loc[~held, columns],
        tuning_data=tables["train"].loc[held, columns],
        time_limit=asked.seconds,
        seed=asked.seed,
        hyperparameters={
            "model.names": ["timm_image", "hf_text", "fusion_mlp"],
            "model.hf_text.checkpoint_name": str(asked.weights / "minilm"),
            "model.timm_image.checkpoint_name": str(asked.weights / "effnet"),
            "optim.lr": 5e-4,
            "optim.max_epochs": 30,
            "env.per_gpu_batch_size": 32,
            "env.num_workers": 0,
            "env.num_workers_inference": 0,
        },
    )
    answers = {
        split: predictor.predict(tables[split][columns[:2]]).tolist() for split in ("same_vendors", "other_vendors")
    }
    text = json.dumps({"seconds": time.perf_counter() - began, "answers": {"both": answers}})
    (asked.out / "answers.json").write_text(text, encoding="utf-8")
