"""automm against its peers on the emoji set, in one run; prints the table of docs/benchmarks.md.

    python tools/benchmark/emoji/make_set.py --out /tmp/emoji
    python tools/benchmark/emoji/make_weights.py --out /tmp/weights
    python tools/benchmark/emoji/compare.py [--seeds 0 1 2] [--autogluon ag/bin/python] \
        --set /tmp/emoji --weights /tmp/weights --out /tmp/compared [OVERRIDE ...]

Everybody gets the same frozen weights and the same rows, and is judged on two tests: other emoji by the vendors that
were trained on, and by two others. automm's test split is the first; the second is answered by its bundle. Differences
to the probe are paired by row; their interval is a bootstrap over emoji, for drawings of one are no independent rows.

What is finished under `--out` is kept: the same command goes on where one was stopped. `--fresh` starts anew.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from automm.runtime import Predictor

TESTS = ("same_vendors", "other_vendors")
_HERE = Path(__file__).parent
_RESAMPLES = 10_000


def automm(data: Path, weights: Path, run: Path, seed: int, more: Sequence[str]) -> dict[str, Any]:
    """One run of the command line, or the rest of one that was stopped, and what its bundle answers."""
    command = [
        sys.executable, "-m", "automm", "+task=classification", f"data.train={data / 'train.csv'}",
        f"data.test={data / 'same_vendors.csv'}", "data.target=subcategory", "data.group=unified", "data.drop=[vendor]",
        f"encoder.text.weights=local-dir:{weights / 'minilm'}", "encoder.image.model=tf_efficientnet_lite0",
        f"encoder.image.weights=file:{weights / 'effnet' / 'model.safetensors'}", "search.timeout=300", f"seed={seed}",
        f"run.dir={run}", f"cache_dir={run.parent / 'cache'}", *more,
    ]  # fmt: skip
    subprocess.run(command, check=True)  # a finished run is shown again, and one of other settings refused
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    predictor = Predictor.open(run / "bundle")
    answers = {}
    for test in TESTS:
        rows = [{"image": str(data / row["image"]), "name": row["name"]} for row in _rows(data, test)]
        answers[test] = [each["answer"] for each in predictor.predict(rows)]
    return {"seconds": result["seconds"]["total"], "result": result, "answers": answers}


def peer(script: str, python: str, data: Path, weights: Path, out: Path, *more: str) -> dict[str, Any]:
    """What a peer answers, or has answered to the same question."""
    answers, question = out / "answers.json", out / "asked.json"
    rows = {split: hashlib.sha256((data / f"{split}.csv").read_bytes()).hexdigest() for split in ("train", *TESTS)}
    asked = json.dumps({"rows": rows, "weights": str(weights), "options": more})
    if not answers.exists():
        out.mkdir(parents=True, exist_ok=True)
        question.write_text(asked, encoding="utf-8")
        places = ["--set", str(data), "--weights", str(weights), "--out", str(out)]
        subprocess.run([python, str(_HERE / script), *places, *more], check=True)
    if not question.exists() or question.read_text(encoding="utf-8") != asked:
        raise SystemExit(f"{answers} answers other rows or other weights. Next: name another --out, or say --fresh.")
    return dict(json.loads(answers.read_text(encoding="utf-8")))


def interval(better: np.ndarray, emoji: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % of the mean of a difference a row, rows of one emoji drawn together."""
    names, at = np.unique(emoji, return_inverse=True)
    sums, counts = np.bincount(at, better), np.bincount(at)
    drawn = np.random.default_rng(seed).integers(0, len(names), (_RESAMPLES, len(names)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def _rows(data: Path, split: str) -> list[dict[str, str]]:
    with (data / f"{split}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _right(data: Path, answers: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """1.0 where an answer is the row's subcategory, by test."""
    return {
        t: np.array([a == r["subcategory"] for a, r in zip(answers[t], _rows(data, t), strict=True)], float)
        for t in TESTS
    }


def main() -> None:
    """Run everybody and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("set", "weights", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--autogluon", help="the Python of a virtual environment that has autogluon.multimodal")
    parser.add_argument("--fresh", action="store_true", help="throw away what an earlier run left under --out")
    parser.add_argument("overrides", nargs="*", help="further overrides for automm")
    asked = parser.parse_args()
    data, weights, out = asked.set.resolve(), asked.weights.resolve(), asked.out.resolve()
    if asked.fresh:
        shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    found = peer("probe.py", sys.executable, data, weights, out / "probe")
    probe = {kind: _right(data, answers) for kind, answers in found["answers"].items()}
    lines = [(f"probe, {kind}", found["seconds"], {t: [right[t]] for t in TESTS}) for kind, right in probe.items()]
    if asked.autogluon:
        ag = peer("autogluon_peer.py", asked.autogluon, data, weights, out / "autogluon")
        for kind, answers in ag["answers"].items():
            of_test = _right(data, answers)
            lines.append((f"AutoGluon MultiModal, {kind}", ag["seconds"][kind], {t: [of_test[t]] for t in TESTS}))
    runs = [automm(data, weights, out / f"automm-{seed}", seed, asked.overrides) for seed in asked.seeds]
    ours = [_right(data, run["answers"]) for run in runs]
    lines.append(("automm", float(np.mean([r["seconds"] for r in runs])), {t: [o[t] for o in ours] for t in TESTS}))
    print("| | seconds | same vendors | other vendors |\n|---|---|---|---|")
    for name, seconds, right in lines:
        cells = [f"{np.mean(right[t]):.3f}" + _spread(right[t]) for t in TESTS]
        print(f"| {name} | {seconds:.0f} | {' | '.join(cells)} |")
    for test in TESTS:
        emoji = np.array([row["unified"] for row in _rows(data, test)])
        gain = np.mean([o[test] for o in ours], axis=0) - probe["both"][test]
        low, high = interval(gain, emoji)
        print(f"\n{test}, {len(gain)} rows: automm less the probe {gain.mean():+.3f} (95 % {low:+.3f} to {high:+.3f})")
    for seed, run in zip(asked.seeds, runs, strict=True):
        print(f"\nseed {seed}: {_told(run['result'])}")


def _told(result: dict[str, Any]) -> str:
    """What one run says of itself."""
    trials, seconds, chosen = result["trials"]["total"], result["seconds"]["search"], result["best"]["candidate"]
    decided = " ".join(f"{path}={value}" for path, value in chosen.items() if path.startswith(("fusion", "training")))
    return (
        f"valid {result['best']['valid']['accuracy']:.3f}, test {result['test']['accuracy']:.3f}, {trials} trials in "
        f"{seconds:.0f} s ({60 * trials / seconds:.0f} a minute), stopped by {result['stopped_by']}; {decided}"
    )


def _spread(right: Sequence[np.ndarray]) -> str:
    return f" ± {np.std([r.mean() for r in right]):.3f}" if len(right) > 1 else ""


if __name__ == "__main__":
    main()
