"""Installed YAML presets: ours in `automm.conf`, plugins' in the packages that their `automm.conf` entry points name.

Lists files and imports no component; knows no Hydra. A preset is `group/option`, such as `fusion/film`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable

from automm.errors import PluginConflict

OURS = "automm.conf"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PresetPackage:
    """A package of YAML and the distribution that ships it."""

    package: str
    origin: str


def plugin_packages() -> list[PresetPackage]:
    """Every package of presets that plugins bring, sorted; one that cannot be read is named in a warning and left out.

    Raises:
        PluginConflict: two distributions ship one preset, or a plugin ships one of ours.
    """
    owners = dict.fromkeys(_presets(OURS), "automm")
    readable = _readable()
    for package, shipped in readable.items():
        for preset in shipped:
            if preset in owners:
                raise PluginConflict(
                    f"the preset {preset}.yaml is shipped by {owners[preset]} and by {package.origin}, and only one "
                    "of them could ever be read. Next: uninstall one, or ask its authors to rename it."
                )
            owners[preset] = package.origin
    return list(readable)


def groups() -> dict[str, list[str]]:
    """Every group, such as `encoder/image`, with its options. Presets that collide keep nobody from looking around."""
    out: dict[str, set[str]] = {}
    for shipped in (_presets(OURS), *_readable().values()):
        for preset in shipped:
            group, _, option = preset.rpartition("/")
            if group:
                out.setdefault(group, set()).add(option)
    return {group: sorted(options) for group, options in sorted(out.items())}


def _readable() -> dict[PresetPackage, list[str]]:
    """The plugins' packages that can be read, with the presets in each."""
    found = {PresetPackage(e.value, e.dist.name if e.dist else "unknown") for e in entry_points(group="automm.conf")}
    readable = {}
    for package in sorted(found, key=lambda p: (p.origin, p.package)):
        try:
            readable[package] = list(_presets(package.package))
        except (Exception, SystemExit) as error:  # a plugin's import may do anything, and harms nobody until asked for
            log.warning("the presets of %s cannot be read: %s: %s", package.origin, type(error).__name__, error)
    return readable


def _presets(package: str) -> Iterator[str]:
    return _walk(files(package), "")


def _walk(folder: Traversable, prefix: str) -> Iterator[str]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml")
