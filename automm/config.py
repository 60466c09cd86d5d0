"""Hydra, and what is ours about it: overrides in, `Settings` out, errors in a paragraph. Imports no torch.

Only this file and `__main__` know Hydra. Sections that hold options of components are open maps: their keys are added
as asked (`++`), and checked afterwards against the components themselves, which know better than a file. A quoted name
in a key, which Hydra's grammar has no word for, goes through Hydra in the spelling of `hydra_names.py`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from automm import presets, registry
from automm.errors import AutommError, ConfigError, UnknownComponent, UnknownKey, near_miss
from automm.hydra_names import respelt, spelt, with_names
from automm.sections import UNDECIDED, settings_of
from automm.settings import Settings

ROOT = "config"
_DECIDED = re.compile(rf"run\.dir=|encoder\.|fusion\.|training\.(?!({'|'.join(UNDECIDED)})=)")
_OPEN = re.compile(r"(data|task|strategy|executor|training|encoder|fusion\.options)\.[^=]+=")
_KIND_OF_GROUP = {"task": "task", "data": "data", "fusion": "fusion", "strategy": "strategy", "executor": "executor"}
_NO_TASK = "no task is chosen. Next: say which, as in `automm +task=vqa`. Known: "


class _PluginPresets(SearchPathPlugin):
    """Plugins' packages of YAML come after ours, so that they add and never shadow."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for each in presets.plugin_packages():
            search_path.append(f"automm.conf of {each.origin}", f"pkg://{each.package}")


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration that these overrides make of ours.

    Raises:
        ConfigError: an override that cannot be read, or names what is not there.
    """
    with _explained():
        Plugins.instance().register(_PluginPresets)
        with hydra.initialize_config_module(presets.OURS, job_name="automm", version_base="1.3"):
            return hydra.compose(ROOT, overrides=prepared(overrides))


def to_settings(cfg: DictConfig, cwd: Path, *, run_dir: Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Checked settings from a composed configuration; `run_dir` replaces `run.dir`.

    Raises:
        ConfigError: a key, a name or a value that cannot be. Nothing has been done yet.
        PluginError: a component that is named cannot be used.
    """
    if OmegaConf.is_missing(cfg, "task.name") or OmegaConf.select(cfg, "task.name", default=None) is None:
        raise ConfigError(_NO_TASK + ", ".join(presets.groups()["task"]) + ".")
    with _explained():
        tree: Any = with_names(OmegaConf.to_container(cfg, resolve=True))
    asked = [o.removeprefix("++") for o in overrides]
    return settings_of(tree, cwd, run_dir=run_dir, overrides=[o for o in asked if not _DECIDED.match(o)])


def job_settings(cfg: DictConfig) -> Settings:
    """The settings of the job that Hydra is running; each of a sweep has a directory of its own.

    Raises:
        ConfigError: as `to_settings`.
    """
    job = HydraConfig.get()
    if job.run.dir != ".":
        raise ConfigError(f"hydra.run.dir={job.run.dir} has no effect here. Next: run.dir={job.run.dir}")
    run_dir = Path(job.runtime.output_dir) if job.mode == RunMode.MULTIRUN else None
    asked = [respelt(word) for word in job.overrides.task]
    return to_settings(cfg, Path(job.runtime.cwd), run_dir=run_dir, overrides=asked)


def sweep_job() -> str | None:
    """The job of a sweep that is running, in words; None in a single run."""
    job = HydraConfig.get()
    if job.mode != RunMode.MULTIRUN:
        return None
    return f"job #{job.job.num} ({' '.join(respelt(o.removeprefix('++')) for o in job.overrides.task)})"


def application(job: Callable[[DictConfig], None], argv: Sequence[str]) -> None:
    """Run Hydra's command line: compose, then `job` once, or once per point of a sweep.

    Raises:
        ConfigError: the configuration cannot be composed.
        Exception: whatever a job raised.
    """
    words = prepared(argv)
    swept = bool({"-m", "--multirun"} & set(argv))
    if swept and not any(word.lstrip("+").startswith(("run.dir=", "hydra.sweep.dir=")) for word in words):
        words.append(f"hydra.sweep.dir={datetime.now():multirun/%Y-%m-%d/%H-%M-%S}")
    with _as_process(words), _explained():
        Plugins.instance().register(_PluginPresets)
        hydra.main(config_path=f"pkg://{presets.OURS}", config_name=ROOT, version_base="1.3")(job)()


def prepared(words: Sequence[str]) -> list[str]:
    """Overrides as Hydra needs them.

    Raises:
        ConfigError: a group is given a list, of which Hydra would silently take the last.
        UnknownComponent: a group is a plugin's that is not installed, which Hydra would silently pass over.
    """
    groups, words = presets.groups(), [spelt(word) for word in words]
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        group = key.replace(".", "/")
        brought = registry.BROUGHT_BY.get(key.removeprefix("encoder/")) if key.startswith("encoder/") else None
        if brought and key not in groups:
            raise UnknownComponent(f"{word}: no preset of encoders for it is installed. Next: pip install {brought}.")
        if value.startswith("[") and group in groups:
            nested = group.partition("/")[0] in ("fusion", "encoder")
            several = f"{group.replace('/', '.')}.name={value}" if nested else f"-m {group}={value.strip('[]')}"
            raise ConfigError(f"{word}: {key} takes one preset, not a list. Next: {several}")
    return [f"++{word}" if _OPEN.match(word) else word for word in words]


@contextmanager
def _as_process(words: Sequence[str]) -> Iterator[None]:
    """Hydra reads its command line from the process, and prints errors and exits unless it is told to raise them."""
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = ["automm", *words], "1"
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.pop("HYDRA_FULL_ERROR")
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise into our errors."""
    try:
        yield
    except AutommError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error) from error


def _explain(error: Exception) -> ConfigError:
    said = " ".join(f"{error} {error.__cause__ or ''}".split())
    if isinstance(error, OverrideParseException):
        asked = respelt(error.override)
        place = re.search(r"(encoder\.fields|data\.columns)\.", asked)
        column = f"; around a column's name that is no plain word too: '{place[0]}\"a b\"...'" if place else ""
        return ConfigError(
            f"the override {asked!r} cannot be read: {' '.join(error.message.splitlines()[0].split())}. "
            f"Next: write KEY=VALUE, and put quotes around a value with special characters: 'key=\"a b\"'{column}."
        )
    if "task.name" in said and "missing" in said.lower():
        return ConfigError(_NO_TASK + ", ".join(presets.groups()["task"]) + ".")
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_preset(str(error.missing_cfg_file))
    if found := re.search(r"Ambiguous value for argument '([^']+)'", said):
        return ConfigError(f"{found[1]} is more than one value. Next: put -m first to run once for each of them.")
    if found := re.search(r"Could not override '([^']+)'", said):
        return _no_key(found[1], said)
    return ConfigError(f"the configuration cannot be composed: {said}")


def _no_preset(path: str) -> ConfigError:
    group, _, option = path.rpartition("/")
    message = f"no preset {option!r} in the group {group}. {near_miss(option, presets.groups().get(group, []))}"
    kind = "encoder" if group.startswith("encoder") else _KIND_OF_GROUP.get(group, "")
    if kind and option in registry.names(kind):
        message += (
            f" Next: the {kind} {option!r} is installed, but has no preset: {group.replace('/', '.')}.name={option}"
        )
    return UnknownComponent(message)


def _no_key(key: str, said: str) -> ConfigError:
    groups = presets.groups()
    if key in groups and "defaults list" in said:
        return UnknownKey(f"the group {key} has no default to replace. Next: write +{key}=..., with a plus sign.")
    here: Any = compose()
    for part in key.split("."):
        if not isinstance(here, DictConfig) or part not in here:
            break
        here = here[part]
    known = {str(k) for k in here} if isinstance(here, DictConfig) else set()
    return UnknownKey(
        f"no setting {key!r}. {near_miss(part, known | {g for g in groups if '/' in g and '.' not in key})}"
    )
