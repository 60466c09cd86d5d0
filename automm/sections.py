"""A composed configuration, section by section, checked -> Settings. Plain mappings; knows no Hydra.

What costs nothing is checked first (keys, ranges, names), so that a slip of the pen is answered before torch loads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automm import choices, field_encoders, registry
from automm.errors import ConfigError, OutOfRange, UnknownKey, near_miss
from automm.metrics.named import asked
from automm.narrowing import check_name
from automm.settings import (
    BaselineSettings,
    ComponentSettings,
    ExportSettings,
    SearchSettings,
    Settings,
    TrainingSettings,
)
from automm.space import Float, Int, OneOf, Param, Space, describe

Section = Mapping[str, Any]


@dataclass(frozen=True)
class _Key:
    """What a key with a meaning of its own may hold."""

    param: Param | None  # None: any text
    nullable: bool = False

    def holds(self, value: Any) -> bool:
        """Whether the key may hold `value`."""
        if value is None:
            return self.nullable
        return isinstance(value, str) if self.param is None else self.param.holds(value)

    @property
    def said(self) -> str:
        """What it may hold, in words."""
        return (describe(self.param) if self.param else "a name") + (", or null" if self.nullable else "")


_COUNT = Int(1, 10**9)
_BOOL = OneOf((False, True))
_ROOT = {
    "seed": _Key(Int(0, 2**32 - 1)),
    "device": _Key(OneOf(("auto", "cpu", "cuda"))),
    "debug": _Key(_BOOL),
    "cache_max_gb": _Key(Float(0.0, 1e6)),
    "cache_dir": _Key(None, nullable=True),
}
_SEARCH = {
    "trials": _Key(_COUNT),
    "timeout": _Key(Float(1e-3, 1e9), nullable=True),
    "min_epochs": _Key(_COUNT),
    "max_epochs": _Key(_COUNT, nullable=True),
    "eta": _Key(Int(2, 1000)),
    "max_gflop": _Key(Float(1e-9, 1e9), nullable=True),
    "keep_checkpoints": _Key(_COUNT),
    "ensemble": _Key(Int(1, 100)),
    "soup": _Key(Int(1, 100)),
    "climb": _Key(Float(0.0, 0.9)),
    "runoff": _Key(Int(0, 100)),
    "margin": _Key(Float(0.0, 10.0)),
    "objective": _Key(None, nullable=True),
    "direction": _Key(OneOf(("maximize", "minimize")), nullable=True),
}
_TRAINING = {
    "epochs": _Key(_COUNT),
    "patience": _Key(_COUNT, nullable=True),
    "precision": _Key(OneOf(("auto", "32-true", "bf16-mixed", "16-mixed"))),
    "threads": _Key(Int(1, 4096), nullable=True),
    "refit_on_valid": _Key(_BOOL),
}
UNDECIDED = tuple(_TRAINING)  # keys of training.* that are the same for every candidate
_BASELINES = {"unimodal": _Key(_BOOL), "unimodal_epochs": _Key(_COUNT, nullable=True), "defaults": _Key(_BOOL)}
_EXPORT = {
    "enabled": _Key(_BOOL),
    "opset": _Key(Int(18, 23)),
    "tolerance": _Key(Float(0.0, 1.0)),
    "golden": _Key(Int(1, 10_000)),
}
_SINGLE = ("task", "data", "strategy", "executor")  # sections of one component with its options beside its name
_SECTIONS = (*_SINGLE, "encoder", "fusion", "training", "search", "baselines", "export", "run")


def settings_of(tree: Section, cwd: Path, *, run_dir: Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Settings from a composed configuration.

    Args:
        tree: the configuration, resolved to plain mappings.
        cwd: the directory relative paths are meant from.
        run_dir: instead of `run.dir`, where something else decides (a sweep's job).
        overrides: what the user asked for beside what a candidate decides.

    Raises:
        ConfigError: a key, name or value that cannot be; nothing has been done yet.
        PluginError: a component that is named cannot be used.
    """
    root = _values("", {key: tree[key] for key in tree if key not in _SECTIONS}, _ROOT, tree)
    parts = {name: _mapping(tree, name) for name in _SECTIONS}
    search, training, baselines, export = _numbers(parts)
    _check_names(parts)
    metrics = parts["task"].get("metrics")
    parts["task"] = {key: value for key, value in parts["task"].items() if key != "metrics"}  # the same for every task
    components = {kind: choices.component(kind, kind, parts[kind]) for kind in _SINGLE}
    solver = {key: value for key, value in parts["training"].items() if key not in _TRAINING}
    space = choices.build_space(parts["encoder"], parts["fusion"], solver)
    _check_pairs(components["task"], space)
    return Settings(
        task=components["task"],
        data=components["data"],
        space=space,
        search=SearchSettings(strategy=components["strategy"], executor=components["executor"], **search),
        training=TrainingSettings(device=root["device"], **training),
        baselines=BaselineSettings(**baselines),
        export=ExportSettings(**export),
        seed=root["seed"],
        run_dir=cwd / _run_dir(parts["run"]) if run_dir is None else run_dir,
        cache_bytes=int(root["cache_max_gb"] * 1e9),
        metrics=asked(components["task"].name, metrics, search["objective"]),
        cache_dir=cwd / Path(root["cache_dir"] or default_cache()).expanduser(),
        debug=root["debug"],
        fields=field_encoders.field_encoders(parts["encoder"]),
        config=tree if run_dir is None else {**tree, "run": {"dir": str(run_dir)}},
        overrides=tuple(overrides),
    )


def default_cache() -> Path:
    """$AUTOMM_CACHE, else the directory this platform keeps caches in."""
    if asked := os.environ.get("AUTOMM_CACHE"):
        return Path(asked)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "automm"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "automm" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "automm"


def _numbers(parts: Mapping[str, Section]) -> list[dict[str, Any]]:
    """The values of search, training, baselines and export."""
    fixed = {key: value for key, value in parts["training"].items() if key in _TRAINING}
    search = _values("search", parts["search"], _SEARCH)
    training = _values("training", fixed, _TRAINING)
    baselines = _values("baselines", parts["baselines"], _BASELINES)
    _check_epochs(search, training)
    if min(search["ensemble"], search["soup"]) > 1:
        raise ConfigError(
            f"search.ensemble={search['ensemble']} averages scores and search.soup={search['soup']} weights, and a run "
            "does one of the two. Next: leave the other at 1."
        )
    baselines["unimodal_epochs"] = baselines["unimodal_epochs"] or training["epochs"]
    return [search, training, baselines, _values("export", parts["export"], _EXPORT)]


def _check_names(parts: Mapping[str, Section]) -> None:
    """Raise unless every component that is named is installed; imports nothing."""
    for kind in _SINGLE:
        check_name(kind, f"{kind}.name", parts[kind].get("name"))
    for modality, layer in choices.modality_layers(parts["encoder"]):
        for name in choices.encoder_names(_mapping(parts["encoder"], modality, "encoder.")):
            check_name("encoder", f"{layer.where}.name", name)
    field_encoders.check_names(parts["encoder"])
    check_name("fusion", "fusion.name", parts["fusion"].get("name"))
    check_name("solver", "training.solver", parts["training"].get("solver"))


def _check_pairs(task: ComponentSettings, space: Space) -> None:
    """Raise unless a task of pairs has fusions alone that leave two vectors apart."""
    if not registry.get("task", task.name).factory.PAIRS:
        return
    choosing = [param for path, param in space.paths() if path == "fusion.name" and isinstance(param, OneOf)]
    for name in dict.fromkeys(name for param in choosing for name in param.choices):
        if not registry.get("fusion", str(name)).factory.SIDE_BY_SIDE:
            raise ConfigError(
                f"task={task.name} compares a vector of each field, and fusion.name={name} makes one of all fields. "
                "Next: fusion=towers."
            )


def _values(where: str, section: Section, keys: Mapping[str, _Key], known: Section | None = None) -> dict[str, Any]:
    """A section's values, each of its key's own type."""
    dot = f"{where}." if where else ""
    for key in section:
        if key not in keys:
            raise UnknownKey(f"no setting {dot}{key}. {near_miss(key, known or keys)}")
    out: dict[str, Any] = {}
    for key, rule in keys.items():
        if key not in section:
            raise UnknownKey(
                f"{dot}{key} is missing from the configuration. Next: leave its default in place, or set it."
            )
        if not rule.holds(section[key]):
            raise OutOfRange(f"{dot}{key}={section[key]} is not allowed: {rule.said}")
        out[key] = _cast(rule.param, section[key])
    return out


def _cast(param: Param | None, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(param, Int):
        return int(value)
    return float(value) if isinstance(param, Float) else value


def _mapping(tree: Section, key: str, prefix: str = "") -> Section:
    section = tree.get(key)
    if isinstance(section, Mapping):
        return section
    path = prefix + key
    group = path.replace(".", "/")
    if isinstance(section, (list, tuple)):
        hint = f"{path}.name=[{','.join(map(str, section))}] narrows it to several"
    elif section is None:
        hint = f"{group}=NAME picks a preset"
    else:
        hint = f"{group}={section} picks the preset of that name, {path}.name={section} the component"
    raise ConfigError(f"{path}={section} is not allowed: {path} is a section of settings. Next: {hint}.")


def _run_dir(section: Section) -> Path:
    for key in section:
        if key != "dir":
            raise UnknownKey(f"no setting run.{key}. {near_miss(key, ['dir'])}")
    if not isinstance(section.get("dir"), str) or not section["dir"]:
        raise ConfigError(f"run.dir={section.get('dir')} is no folder. Next: name one, or leave run.dir out.")
    return Path(section["dir"]).expanduser()


def _check_epochs(search: dict[str, Any], training: Section) -> None:
    search["max_epochs"] = search["max_epochs"] or training["epochs"]
    low, high, last = search["min_epochs"], search["max_epochs"], training["epochs"]
    if not low <= high <= last:
        raise OutOfRange(
            f"search.min_epochs={low}, search.max_epochs={high} and training.epochs={last} do not follow one another: "
            "a trial starts with the first, ends with the second, and the best goes on to the third. "
            "Next: set them so that none is smaller than the one before."
        )
