"""Search strategies against random search at the same budget, on a real and conditional problem that costs seconds.

    python tools/benchmark/search_vs_random.py --out table.md

The problem: model selection with scikit-learn on data that it bundles: which scaling, which of four classifiers, and
that classifier's own hyperparameters, several of them log ranges. `--data digits` (400 rows to fit, 800 to judge) is
what the default strategy was tuned on; `--data breast_cancer` (169 and 400) is not. Every search goes through
`automm.search.loop.search` with one rung, so that what is compared is the proposing alone. An evaluation is a pure
function of its candidate and is computed once for all searches.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from automm.search.loop import search
from automm.search.strategies.strategy import key_of
from automm.search.study import Study
from automm.settings import ComponentSettings, SearchSettings
from automm.space import Candidate, Float, Int, OneOf, Space
from automm.trial import Job, Outcome, Report
from automm.types import Goal, Scalar

DATA = {"digits": (load_digits, 400, 800), "breast_cancer": (load_breast_cancer, 169, 400)}  # rows to fit and judge
_GAMMA = Float(1e-5, 1e1, log=True)
_KERNELS: dict[Scalar, Space] = {"rbf": Space({"gamma": _GAMMA}), "poly": Space({"gamma": _GAMMA, "degree": Int(2, 5)})}
SPACE = Space(
    {
        "scaling": OneOf(("none", "standard", "minmax")),
        "model": OneOf(
            ("neighbours", "forest", "svm", "logistic"),
            children={
                "neighbours": Space(
                    {
                        "k": Int(1, 50, log=True),
                        "metric": OneOf(("manhattan", "euclidean", "chebyshev")),
                        "weights": OneOf(("uniform", "distance")),
                    }
                ),
                "forest": Space(
                    {
                        "kind": OneOf(("random", "extra")),
                        "trees": Int(4, 64, log=True),
                        "depth": Int(2, 16),
                        "features": Float(0.05, 1.0),
                    }
                ),
                "svm": Space(
                    {
                        "c": Float(1e-3, 1e3, log=True),
                        "kernel": OneOf(("linear", "rbf", "poly"), children=_KERNELS),
                    }
                ),
                "logistic": Space({"penalty": Float(1e-4, 1e3, log=True)}),
            },
        ),
    }
)


class ModelSelection:
    """The validation error of a classifier on one of `DATA`."""

    def __init__(self, data: str = "digits", *, split: int = 20) -> None:
        load, train, valid = DATA[data]
        inputs, labels = load(return_X_y=True)
        order = np.random.default_rng(split).permutation(len(labels))
        fitted, judged = order[:train], order[train : train + valid]
        self._train = inputs[fitted], labels[fitted]
        self._valid = inputs[judged], labels[judged]
        self._known: dict[str, float] = {}

    def check(self, _candidate: Candidate) -> None:
        """Everything may run."""

    def run(self, job: Job, report: Report) -> Outcome:
        """Fit and judge once."""
        key = key_of(job.candidate)
        if key not in self._known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what doesn't converge: its error says so too
                fitted = pipeline(job.candidate).fit(*self._train)
                self._known[key] = 1.0 - float(fitted.score(*self._valid))
        values = {"error": self._known[key]}
        report(1, values)
        return Outcome(values, 1, True, 0.0)


def pipeline(candidate: Candidate) -> Any:
    """The unfitted classifier that a candidate describes."""
    value: dict[str, Any] = dict(candidate)
    scalers = {"none": [], "standard": [StandardScaler()], "minmax": [MinMaxScaler()]}[value["scaling"]]
    if value["model"] == "neighbours":
        model = KNeighborsClassifier(value["k"], metric=value["metric"], weights=value["weights"])
    elif value["model"] == "forest":
        kind = RandomForestClassifier if value["kind"] == "random" else ExtraTreesClassifier
        model = kind(value["trees"], max_depth=value["depth"], max_features=value["features"], random_state=0)
    elif value["model"] == "svm":
        shape = {name: value[name] for name in ("gamma", "degree") if name in value}
        model = SVC(C=value["c"], kernel=value["kernel"], max_iter=2000, **shape)
    else:
        model = LogisticRegression(C=value["penalty"], max_iter=100)
    return make_pipeline(*scalers, model)


def best_so_far(objective: ModelSelection, strategy: str, *, trials: int, seed: int) -> list[float]:
    """The lowest validation error after each trial of one search."""
    settings = SearchSettings(
        strategy=ComponentSettings(strategy),
        executor=ComponentSettings("in_process"),
        trials=trials,
        timeout=None,
        min_epochs=1,
        max_epochs=1,
        eta=2,
        max_gflop=None,
        keep_checkpoints=0,
    )
    with tempfile.TemporaryDirectory() as folder, Study.open(Path(folder) / "study.db") as study:
        found = search(SPACE, objective, Goal("error", "minimize"), settings, study, seed)
    return list(np.minimum.accumulate([trial.values["error"] for trial in found.trials]))


def table(errors: dict[str, np.ndarray], budgets: list[int]) -> str:
    """Markdown: error [seeds, trials] of each strategy at each budget, and what it is below random's, seed by seed."""
    lines = ["| strategy | " + " | ".join(f"{b} trials" for b in budgets) + " | below random, paired |"]
    lines += ["|---" * (len(budgets) + 2) + "|"]
    for name, error in errors.items():
        cells = [f"{100 * error[:, b - 1].mean():.2f} ± {100 * error[:, b - 1].std(ddof=1):.2f}" for b in budgets]
        saved = 100 * (errors["random"] - error)
        told = [_paired(saved[:, b - 1], b) for b in budgets] if name != "random" else ["–"]
        lines.append(f"| {name} | {' | '.join(cells)} | {'; '.join(told)} |")
    return "\n".join(lines)


def _paired(saved: np.ndarray, budget: int) -> str:
    error = saved.std(ddof=1) / np.sqrt(len(saved))
    better, worse = int((saved > 0).sum()), int((saved < 0).sum())
    return f"{budget}: {saved.mean():.2f} ± {error:.2f} ({better} better, {worse} worse)"


def conditions() -> str:
    """When and on what this ran."""
    info = Path("/proc/cpuinfo")
    cpu = platform.processor() or platform.machine()
    flags = ""
    if info.is_file():
        lines = dict(line.split("\t", 1) for line in info.read_text().splitlines() if "\t" in line)
        cpu = lines.get("model name", cpu).strip("\t: ")
        known = set(lines.get("flags", "").split())
        flags = " ".join(flag for flag in ("avx2", "avx512f", "avx512_vnni", "amx_tile") if flag in known)
    packages = ", ".join(f"{p} {version(p)}" for p in ("automm", "nevergrad", "numpy", "scikit-learn"))
    return f"{time.strftime('%Y-%m-%d')}, {cpu} ({flags}), one thread, Python {platform.python_version()}, {packages}"


def main() -> None:
    """Run all searches and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(DATA), default="digits")
    parser.add_argument("--strategies", nargs="+", default=["nevergrad", "surrogate", "portfolio"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[12, 20, 30])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    objective = ModelSelection(given.data)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    errors = {}
    for strategy in ["random", *given.strategies]:
        runs = [best_so_far(objective, strategy, trials=max(given.budgets), seed=seed) for seed in seeds]
        errors[strategy] = np.array(runs)
    said = f"{conditions()}; {given.data}, {len(seeds)} seeds from {given.first_seed}."
    text = f"{said}\n\n{table(errors, given.budgets)}\n"
    print(text)
    if given.out is not None:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
