"""The section of docs/benchmarks.md, from the files that the steps of compare.py leave.

probe/answers.json  autogluon/answers.json  automm-SEED/{result,answers}.json  first-trial/first_trial.json
measured.json, which says when and by which commit each was made; caches.json, what features each began with
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from figures import TESTS, interval, mean, right, rows

WIDTH = 140
_UNKNOWN = [["day unknown", "unknown"]]  # of files that were there before anybody wrote that down


@dataclass(frozen=True)
class Measured:
    """What the steps left. `autogluon` is None where it was left out; a dictionary of `right` is [rows] by test."""

    data: Path
    probe: dict[str, Any]
    autogluon: dict[str, Any] | None
    seeds: Sequence[int]
    results: Sequence[dict[str, Any]]
    right: Sequence[dict[str, np.ndarray]]
    first_trial: dict[str, float]
    sessions: dict[str, list[list[str]]]
    caches: dict[str, str]

    @classmethod
    def read(cls, out: Path, data: Path, seeds: Sequence[int], *, autogluon: bool) -> Measured:
        """Of the files under `out`."""
        return cls(
            data=data,
            probe=_json(out / "probe" / "answers.json"),
            autogluon=_json(out / "autogluon" / "answers.json") if autogluon else None,
            seeds=seeds,
            results=[_json(out / f"automm-{seed}" / "result.json") for seed in seeds],
            right=[right(data, _json(out / f"automm-{seed}" / "answers.json")) for seed in seeds],
            first_trial=_json(out / "first-trial" / "first_trial.json"),
            sessions=_json(out / "measured.json"),
            caches=_json(out / "caches.json") if (out / "caches.json").exists() else {},
        )

    def steps(self) -> list[str]:
        """The steps that these figures come from."""
        peers = ["probe"] + ["autogluon"] * (self.autogluon is not None)
        return [*peers, *(f"automm-{seed}" for seed in self.seeds), "first-trial"]


def section(found: Measured, name: str, command: str) -> str:
    """All of it, in Markdown, under a heading with the name of the set."""
    said = [f"`{command}`, {when(found.sessions, found.steps())}. {_where(found)}", _how(found)]
    parts = [
        f"### The set `{name}`",
        *map(filled, said),
        accuracies(found),
        filled(_differences(found)),
        by_seed(found),
    ]
    return "\n\n".join(parts) + "\n"


def accuracies(found: Measured) -> str:
    """A line for everybody: seconds, and accuracy on both tests."""
    lines = ["| | seconds | same vendors | other vendors |", "|---|---|---|---|"]
    for at, (kind, answers) in enumerate(found.probe["answers"].items()):
        seconds = "" if at else f"{found.probe['seconds']:.0f} for all of it"
        name = f"probe (logistic regression), {kind}"
        lines.append(line(name, seconds, *_means([right(found.data, answers)])))
    if found.autogluon is None:
        lines.append(line("AutoGluon MultiModal", "left out", "–", "–"))
    else:
        for kind, answers in found.autogluon["answers"].items():
            seconds = f"{found.autogluon['seconds'][kind]:.0f}"
            lines.append(line(f"AutoGluon MultiModal, {kind}", seconds, *_means([right(found.data, answers)])))
    totals = [result["seconds"]["total"] for result in found.results]
    lines.append(line("automm", f"{np.mean(totals):.0f}", *_means(found.right)))
    first = "launched after {launched:.1f}, done after {done:.1f}".format(**found.first_trial)
    lines.append(line("automm, first trial where features are kept", first, "–", "–"))
    return "\n".join(lines)


def by_seed(found: Measured) -> str:
    """A line a seed: validation beside the tests, and what the search did."""
    head = ("seed", "validation", *_names(), "trials", "seconds of search", "trials a minute", "stopped by", "found")
    lines = [line(*head), "|---" * len(head) + "|"]
    for seed, result, of_test in zip(found.seeds, found.results, found.right, strict=True):
        trials, seconds = result["trials"]["total"], result["seconds"]["search"]
        chosen = result["best"]["candidate"]
        solver = chosen.get("training.method", chosen.get("training.solver"))
        figures = [f"{result['best']['valid']['accuracy']:.3f}", *(f"{of_test[test].mean():.3f}" for test in TESTS)]
        pace = (trials, f"{seconds:.0f}", f"{60 * trials / seconds:.0f}")
        lines.append(line(seed, *figures, *pace, result["stopped_by"], f"{chosen['fusion.name']}, {solver}"))
    return "\n".join(lines)


def _differences(found: Measured) -> str:
    """automm less the probe on both columns, and 95 % of it."""
    probe, said = right(found.data, found.probe["answers"]["both"]), []
    for test, name in zip(TESTS, _names(), strict=True):
        emoji = np.array([row["unified"] for row in rows(found.data, test)])
        gain = np.mean([of_test[test] for of_test in found.right], axis=0) - probe[test]
        low, high = interval(gain, emoji)
        said.append(f"{gain.mean():+.3f} on the {name} (95 % {low:+.3f} to {high:+.3f})")
    return f"automm less the probe on both, paired by row, emoji kept together: {' and '.join(said)}."


def when(sessions: Mapping[str, Sequence[Sequence[str]]], steps: Iterable[str]) -> str:
    """Days and commits; with the steps of each where there are several."""
    by_day: dict[tuple[str, ...], list[str]] = {}
    for step in steps:
        for day in sessions.get(step, _UNKNOWN):
            by_day.setdefault(tuple(day), []).append(step)
    if len(by_day) == 1:
        ((date, commit),) = by_day
        return f"{date}, commit {commit}"
    return "; ".join(f"{date}, commit {commit} ({', '.join(names)})" for (date, commit), names in by_day.items())


def machine(results: Iterable[Mapping[str, Any]]) -> str:
    """What runs say that they ran on, and the versions they ran with."""
    results = list(results)
    cpus = _once(_processor(result["cpu"]) for result in results)
    devices = _once(str(result["device"]) for result in results)
    return f"{cpus}, models on {devices}; {_once(_versions(result['versions']) for result in results)}"


def _where(found: Measured) -> str:
    peers = f"the probe's {_versions(found.probe['versions'])}"
    if found.autogluon is not None:
        peers += f"; the other environment's {_versions(found.autogluon['versions'])}"
    return f"{machine(found.results)}; {peers}."


def _processor(cpu: Mapping[str, Any]) -> str:
    cores = f"{cpu['physical']} core" + "s" * (cpu["physical"] != 1)
    return f"{cores} of {cpu['model']} ({', '.join(cpu['flags'])})"


def _how(found: Measured) -> str:
    train, same, other = (f"{len(rows(found.data, split)):,}" for split in ("train", *TESTS))
    left_out = " AutoGluon was left out (`--autogluon none`)." * (found.autogluon is None)
    seeds = ", ".join(map(str, found.seeds))
    spread = ", mean ± standard deviation" if len(found.seeds) > 1 else ""
    return (
        f"Accuracy after {train} training rows, on {same} rows of the same vendors and {other} of others; automm's by "
        f"seed {seeds}{spread}{_features(found)}.{left_out}"
    )


def _features(found: Measured) -> str:
    """Whose seconds hold those of the features; nothing where the first seed did not begin without any."""
    if found.caches.get(f"automm-{found.seeds[0]}") != "empty":
        return ""
    several = len(found.seeds) > 1
    return ", the first of which computes the features that the others find kept" if several else ", features included"


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _means(each: Sequence[dict[str, np.ndarray]]) -> list[str]:
    return [mean([of_test[test] for of_test in each]) for test in TESTS]


def _names() -> list[str]:
    return [test.replace("_", " ") for test in TESTS]


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _once(told: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(told))


def line(*cells: object) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(map(str, cells))} |"


def filled(text: str) -> str:
    """A paragraph in lines of 140 characters at most."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
