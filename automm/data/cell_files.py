"""Files that the cells of a table name: downloaded where they are URLs, allowed, and proved readable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automm.data.audio_files import CLIP_CHECKS, broken_clips
from automm.data.downloads import FOLDER, Downloads, Examine
from automm.data.image_files import IMAGE_CHECKS, Check, broken_images, forbidden
from automm.errors import MissingExtra
from automm.offline import offline
from automm.runtime.urls import may_download
from automm.types import Modality

Columns = dict[str, list[Any]]  # raw values by column; None is a missing one

_ONE: dict[Modality, Mapping[Check, Examine]] = {"image": IMAGE_CHECKS, "audio": CLIP_CHECKS}
_BROKEN: dict[Modality, Callable[..., dict[Any, str]]] = {"image": broken_images, "audio": broken_clips}


@dataclass(frozen=True)
class CellFiles:
    """What is asked of such files.

    Args:
        check: how far each is read.
        outside: whether paths may leave the folder of the table.
        urls: whether those of http and https are downloaded.
        stop: whether the first one that cannot be downloaded ends it.
    """

    check: Check
    outside: bool
    urls: bool
    stop: bool

    def examine(
        self, columns: Columns, modalities: Mapping[str, Modality], folder: Path, cache_dir: Path
    ) -> tuple[Columns, dict[str, dict[Any, str]], dict[str, str]]:
        """Look at every file once.

        Args:
            columns: of one table.
            modalities: of its columns, by name.
            folder: of the table.
            cache_dir: where downloads are kept, and which files passed.

        Returns:
            The columns, with the path where its file is kept in the place of a URL; by column of files, what is
            wrong with each value that may not or cannot be read, in a phrase; and the URL of each such path.

        Raises:
            DataError: a download cannot be written.
            MissingExtra: a clip needs a package that is not installed.
        """
        named = [name for name in columns if modalities[name] in _BROKEN]
        downloads = Downloads(cache_dir / FOLDER)
        sources: dict[str, str] = {}
        failed: dict[Any, str] = {}
        if self.urls:
            columns, sources, failed = self._fetched(columns, named, modalities, downloads)
            if failed and self.stop:
                return columns, dict.fromkeys(named, failed), sources
        problems: dict[Modality, dict[Any, str]] = {}
        for modality in _BROKEN:
            cells = {cell for name in named if modalities[name] == modality for cell in columns[name]} - {None}
            problems[modality] = self._problems(modality, cells - failed.keys(), sources, folder, cache_dir)
        for bad in problems.values():
            for path in bad.keys() & sources.keys():
                failed[path] = _spoilt(bad[path], path, sources[path], downloads)
        return columns, {name: problems[modalities[name]] | failed for name in named}, sources

    def _fetched(
        self, columns: Columns, named: list[str], modalities: Mapping[str, Modality], downloads: Downloads
    ) -> tuple[Columns, dict[str, str], dict[Any, str]]:
        """The columns with paths for URLs; the URL of each such path; what is wrong with those that cannot be had."""
        wanted = {url: _ONE[modalities[name]][self.check] for name, url in _urls(columns, named)}
        paths = {url: str(downloads.path(url)) for url in wanted}
        failed = downloads.fetch(wanted, stop=self.stop)
        here = {n: [paths.get(c, c) for c in cells] if n in named else cells for n, cells in columns.items()}
        return here, {path: url for url, path in paths.items()}, {paths[url]: why for url, why in failed.items()}

    def _problems(
        self, modality: Modality, cells: set[Any], sources: Mapping[str, str], folder: Path, cache_dir: Path
    ) -> dict[Any, str]:
        """What is wrong with each of these cells that may not or cannot be read, in a phrase."""
        own = cells - sources.keys()
        bad = {cell: why for cell in own if (why := forbidden(cell, folder, outside=self.outside))}
        readable = sorted(cells - bad.keys(), key=lambda cell: (isinstance(cell, bytes), cell))
        try:
            return bad | _BROKEN[modality](readable, self.check, cache_dir)
        except MissingExtra as error:
            raise MissingExtra(_with_urls(str(error), sources)) from error


def _spoilt(why: str, path: str, url: str, downloads: Downloads) -> str:
    """What is wrong with a file that was kept, in words of its URL; it is deleted where another can be had."""
    why = why.replace(path, url)
    if offline():
        return why
    if downloads.forget(url):
        return f"{why}; what was kept of it is deleted, and the next run downloads it anew"
    return f"{why}; it would be downloaded anew without {path}, which cannot be deleted"


def _with_urls(message: str, sources: Mapping[str, str]) -> str:
    """A message with URLs for the paths where their files are kept."""
    for path in sources:
        if path in message:
            message = message.replace(path, sources[path])
    return message


def _urls(columns: Columns, names: list[str]) -> Iterator[tuple[str, str]]:
    """The column and the URL of every cell that holds one, row by row."""
    for row in zip(*(columns[name] for name in names), strict=True):
        yield from ((name, cell) for name, cell in zip(names, row, strict=True) if may_download(cell))
