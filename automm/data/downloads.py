"""Files that lie behind http and https: downloaded once, and kept under a digest of the URL."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from automm.data.http_get import Limits, NotGot, content, said
from automm.data.image_files import problem_of
from automm.errors import DataError, MissingExtra
from automm.offline import offline

FOLDER = "downloads"  # below the cache directory

Examine = Callable[[Path], object]

log = logging.getLogger(__name__)

_AT_ONCE = 8  # files
_AHEAD = 1000  # files that wait for their turn, at 2 KB: there may be a million
_LARGEST = 100_000_000  # bytes of a file
_SILENCE = 20.0  # seconds without a byte
_LONGEST = 300.0  # seconds for a file and all that comes before it: a server that trickles is given up too
_UNFINISHED = "unfinished"
_FORGOTTEN = 3600.0  # seconds: what is unfinished for so long was left by a kill
_PROGRESS_SECONDS = 10.0


class Downloads:
    """The files of URLs, kept in a folder that other processes may use at the same time.

    Args:
        folder: made when something is kept.
        largest: bytes; a larger file is refused.
        silence: seconds that a server may send nothing.
        longest: seconds that one file may take, connections, redirections and headers included.
    """

    def __init__(
        self, folder: Path, *, largest: int = _LARGEST, silence: float = _SILENCE, longest: float = _LONGEST
    ) -> None:
        self.folder, self.limits = folder, Limits(largest, silence, longest)
        self._over = threading.Event()  # what still comes is wanted no more

    def path(self, url: str) -> Path:
        """Where the file of a URL is kept, whether it is there yet or not."""
        digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / digest[:2] / digest

    def fetch(self, wanted: Mapping[str, Examine], *, stop: bool) -> dict[str, str]:
        """Download what is not kept yet, a few files at a time.

        Args:
            wanted: by URL, in the order in which they are asked for: what raises DataError for a file that is of no
                use, which is then not kept. One that needs a package that is not installed is.
            stop: at the first file that cannot be had; those that come after it are left where they are.

        Returns:
            By URL, what is wrong with each that cannot be had, in a phrase that names it.

        Raises:
            DataError: a file cannot be written.
        """
        lacking = [url for url in wanted if not _holds(self.path(url))]
        if not lacking:
            return {}
        if forbids := offline():
            why = f"is not among what was downloaded before, and {forbids} forbids to download it: run without it"
            return {url: f"{url} {why}" for url in lacking}
        self._prepare()
        log.info("downloads: %d of %d files, into %s", len(lacking), len(wanted), self.folder)
        self._over.clear()
        pool = ThreadPoolExecutor(_AT_ONCE, "automm-download")
        try:
            jobs = _ahead(lambda url: pool.submit(self._problem, url, wanted[url]), lacking)
            return _collected(jobs, len(lacking), stop=stop)
        finally:
            self._over.set()
            pool.shutdown(cancel_futures=True)

    def sizes(self) -> list[int]:
        """The bytes of every file that is kept, and of those that a kill left unfinished."""
        found = []
        for path in self.folder.rglob("*"):
            with suppress(FileNotFoundError):  # another process took it away
                found += [path.stat().st_size] if path.is_file() else []
        return found

    def clear(self) -> int:
        """Remove every file; returns the bytes that were freed. They are downloaded anew when they are asked for."""
        before = sum(self.sizes())
        shutil.rmtree(self.folder, ignore_errors=True)
        return before - sum(self.sizes())

    def forget(self, url: str) -> bool:
        """Delete what is kept of a URL, so that it is downloaded anew; whether it is gone."""
        try:
            self.path(url).unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _prepare(self) -> None:
        """Make the folder, and take away what a kill left in it."""
        unfinished = self.folder / _UNFINISHED
        try:
            unfinished.mkdir(parents=True, exist_ok=True)
            for entry in list(os.scandir(unfinished)):
                if time.time() - entry.stat().st_mtime > _FORGOTTEN:
                    Path(entry.path).unlink(missing_ok=True)
        except FileNotFoundError:
            pass  # another process took it away
        except OSError as error:
            raise self._unwritable(error) from error

    def _problem(self, url: str, examine: Examine) -> str:
        """Download and keep one file; in a phrase, why it cannot be had."""
        unfinished, kept = self.folder / _UNFINISHED / uuid.uuid4().hex, self.path(url)
        try:
            with unfinished.open("xb") as file:
                for chunk in content(url, self.limits, self._over):
                    file.write(chunk)
            found = _fault(examine, unfinished)
            if not found:
                kept.parent.mkdir(exist_ok=True)
                unfinished.replace(kept)
            return found.replace(str(unfinished), url)
        except NotGot as error:
            return f"{url} cannot be downloaded: {error}"
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            unfinished.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(
            f"downloads cannot be kept in {self.folder}: {said(error)}. Next: make room there, or name another "
            "folder with cache_dir."
        )


def _ahead(submit: Callable[[str], Future[str]], urls: Iterable[str]) -> Iterator[tuple[str, Future[str]]]:
    """The job of every URL, in order; no more of them are on their way at a time than memory has room for."""
    jobs: deque[tuple[str, Future[str]]] = deque()
    for url in urls:
        jobs.append((url, submit(url)))
        if len(jobs) == _AHEAD:
            yield jobs.popleft()
    while jobs:
        yield jobs.popleft()


def _collected(jobs: Iterable[tuple[str, Future[str]]], number: int, *, stop: bool) -> dict[str, str]:
    """What went wrong by URL, looked at in the order in which they are asked for; now and then a word in the log."""
    failed: dict[str, str] = {}
    told = time.monotonic()
    for done, (url, job) in enumerate(jobs, 1):
        if problem := job.result():
            failed[url] = problem
            if stop:
                return failed
        if time.monotonic() - told > _PROGRESS_SECONDS and done < number:
            log.info("downloads: %d of %d files, %d failed", done, number, len(failed))
            told = time.monotonic()
    log.info("downloads: %d files are there, %d failed", number - len(failed), len(failed))
    return failed


def _fault(examine: Examine, file: Path) -> str:
    """As `problem_of`; where a package that is not installed could tell, none is known: who reads the file says so."""
    try:
        return problem_of(examine, file)
    except MissingExtra:
        return ""


def _holds(path: Path) -> bool:
    """Whether a file is kept; after a loss of power it can be there and be empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
