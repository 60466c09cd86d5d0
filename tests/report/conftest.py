"""A made-up run with every kind of trial in it."""

import numpy as np
import pytest

from automm.report.data import GradientRecord, ReportData, Sample, TrialRecord
from automm.types import Goal

FUSIONS = ("concat", "film", "relation", "cross_attention")
GROUPS = ("relational", "non_relational", "shape", "left", "top", "closest", "furthest", "count")


def _candidate(rng, fusion):
    candidate = {
        "encoder.image.name": "convnet",
        "encoder.image.options.convnet.width": int(rng.choice([16, 24, 32])),
        "encoder.text.name": "text_transformer",
        "fusion.name": fusion,
        "training.lr": float(10 ** rng.uniform(-4, -2)),
        "training.batch_size": int(rng.choice([160, 320, 640])),
        "training.solver": "gradient",
    }
    if fusion in ("film", "relation"):
        candidate[f"fusion.options.{fusion}.blocks"] = int(rng.integers(1, 5))
    return candidate


def make_trials(number=26):
    rng = np.random.default_rng(3)
    trials = []
    for at in range(number):
        fusion = FUSIONS[at % 4]
        top = {"concat": 0.62, "film": 0.78, "relation": 0.91, "cross_attention": 0.86}[fusion] + rng.normal(0, 0.02)
        epochs = 9 if at % 5 == 2 else 3 if at % 2 else 1
        curve = [
            {"epoch": e, "values": {"accuracy": 0.4 + (top - 0.4) * (1 - np.exp(-e / 3)), "loss": 1.5 / e}}
            for e in range(1, epochs + 1)
        ]
        state, reason = ("completed", "") if epochs == 9 else ("pruned", "")
        if at == 7:
            state, reason, curve = "failed", "loss became NaN at step 12 <of epoch 1>", []
        values = curve[-1]["values"] if curve else {}
        findings = ["In epoch 2 the fusion had no gradient."] if at == 2 else []
        trials.append(TrialRecord(at, state, _candidate(rng, fusion), values, curve, reason, findings))
    return trials


def column(name, modality, *, role="input", reason="", missing=None):
    return {"name": name, "modality": modality, "role": role, "reason": reason, "missing": missing or {}}


def make_result(trials):
    rng = np.random.default_rng(5)
    best = max((t for t in trials if t.state == "completed"), key=lambda t: t.values["accuracy"])

    def scores(middle):
        return {"accuracy": middle} | {
            f"accuracy/{g}": float(np.clip(middle + rng.normal(0, 0.06), 0, 1)) for g in GROUPS
        }

    return {
        "schema": 1,
        "task": "vqa",
        "seed": 0,
        "seconds": {"search": 611.2, "refit": 402.8, "baselines": 180.0, "total": 1207.4},
        "data": {
            "rows": {"train": 98_000, "valid": 1000, "test": 2000},
            "skipped": [{"file": "/a/t.csv", "records": 101_003, "skipped": 3, "first": "row 7: <no> target."}],
            "columns": [
                column("image", "image", missing={"train": 0, "valid": 0, "test": 0}),
                column("<note>", "text", reason="12 texts", missing={"train": 1204, "valid": 3, "test": 17}),
                column("number", "numeric", role="id", reason="running numbers"),
            ],
            "unseen": {
                "valid": {"rows": 2, "classes": 1, "commonest": {"yak": 2}},
                "test": {"rows": 45, "classes": 23, "commonest": {"<zebra>": 30, "yak": 2}},
            },
        },
        "stopped_by": "trials",
        "trials": {"total": len(trials), "completed": 5, "pruned": 20, "failed": 1},
        "best": {
            "trial": best.number,
            "candidate": dict(best.candidate),
            "overrides": [f"{k}={v}" for k, v in best.candidate.items()],
            "valid": dict(best.values),
        },
        "test": scores(0.93) | {"loss": 0.2},
        "baselines": {
            "majority": scores(0.34),
            "text_only": scores(0.52),
            "image_only": scores(0.35),
            "defaults": scores(0.8),
        },
        "uncertainty": {
            "metric": "accuracy",
            "level": 0.95,
            "units": 500,
            "groups": 50,
            "winner": {"value": 0.93, "low": 0.912, "high": 0.948},
            "baselines": {"majority": {"value": 0.34, "low": 0.32, "high": 0.361}, "defaults": None},
            "ahead": {
                "majority": {"value": 0.59, "low": 0.565, "high": 0.615},
                "text_only": {"value": -0.004, "low": -0.01, "high": 0.002},
                "defaults": None,
            },
        },
        "explained": {"split": "test", "rows": 2048, "repeats": 5, "metric": "accuracy", "whole": scores(0.93)},
        "removed": {
            name: scores(middle)
            for name, middle in {"image": 0.47, "text": 0.34, "text/a_b": 0.41, "text/<b>": 0.92}.items()
        },
        "importance": {
            "image": {"drop": 0.45, "spread": 0.012},
            "text": {"drop": 0.561, "spread": 0.02},
            "text/a_b": {"drop": 0.5, "spread": 0.01},
            "text/<b>": {"drop": -0.001, "spread": 0.002},
        },
        "calibration": {
            "temperature": 1.372,
            "fitted_by": "trial",
            "ece_before": 0.084,
            "ece_after": 0.021,
            "bins": 15,
            "bins_before": [{"score": 0.6, "right": 0.5, "rows": 30}, {"score": 0.99, "right": 0.95, "rows": 970}],
            "bins_after": [{"score": 0.55, "right": 0.52, "rows": 40}, {"score": 0.96, "right": 0.95, "rows": 960}],
        },
        "bundle": "bundle",
        "versions": {"automm": "0.1.0", "torch": "2.14.1"},
        "cpu": {"model": "A CPU", "flags": ["avx2", "fma"], "physical": 2},
    }


def make_samples():
    rng = np.random.default_rng(1)
    samples = []
    for at in range(10):
        image = np.full((75, 75, 3), 255, np.uint8)
        for color in ((220, 40, 40), (40, 160, 60), (50, 80, 220), (240, 150, 30), (128, 128, 128), (235, 215, 40)):
            y, x = rng.integers(5, 65, 2)
            image[y - 5 : y + 5, x - 5 : x + 5] = color
        answer = "circle" if at % 3 else "square"
        text = "What is the shape of the object <closest> to the red one?"
        samples.append(
            Sample({"image": image}, {"question": text}, answer, "circle", 0.5 + 0.04 * at, answer == "circle")
        )
    samples.append(Sample({"image": None}, {"question": None}, "yes", "no", None, False))
    return samples


@pytest.fixture(scope="session")
def story():
    trials = make_trials()
    gradients = [
        GradientRecord(e / 4, 3.0 / (1 + e), {"encoder.image": 1.1 / (1 + e), "fusion": 2 / (1 + e)}) for e in range(36)
    ]
    return ReportData(
        result=make_result(trials),
        goal=Goal("accuracy", "maximize"),
        trials=trials,
        gradients=gradients,
        findings=["The norm of the text branch fell below 1e-6 at epoch 4: <it stopped learning>."],
        samples=make_samples(),
        baseline_notes={"defaults": "what one gets without <searching>"},
    )
