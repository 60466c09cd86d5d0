"""A bundle on disk: its manifest, and files that are what the manifest says they are.

```
manifest.json    what it is: signature, labels, hashes, versions, metrics, latency, parity
model.fp32.onnx  one file a variant
preprocess/<n>/  assets of field n
golden/          raw rows (`rows.json`, PNG and WAV files) and `expected.json`, their scores
config.yaml      the run's configuration
```
Every file but the manifest is listed in it with its SHA-256. Nothing is pickled, and no path leaves the bundle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

from automm.errors import BundleError
from automm.runtime.manifest import AGAIN, read_manifest

GOLDEN = "golden"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. Reading a file checks its path and, unless `verified` is False, its hash."""

    root: Path
    manifest: Mapping[str, Any]
    verified: bool = True

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = True) -> Self:
        """Read the manifest and, if `verify`, check the hash of every file it lists.

        Raises:
            BundleError: no bundle, a newer schema, a missing, altered or unlisted file, or a path that leaves it.
        """
        root = Path(path)
        bundle = cls(root, read_manifest(root), verify)
        for name in bundle.files:
            bundle.path(name)
            if verify:
                bundle.read(name)
        bundle._refuse_unlisted_assets()
        return bundle

    @property
    def files(self) -> Mapping[str, Mapping[str, Any]]:
        """Every file but the manifest, by its POSIX path inside the bundle: `sha256`, `bytes`."""
        files: Mapping[str, Mapping[str, Any]] = self.manifest["files"]
        return files

    @property
    def labels(self) -> tuple[str, ...]:
        """What each score means."""
        return tuple(self.manifest["task"]["labels"])

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields a row may have, in order."""
        return tuple(field["name"] for field in self.manifest["fields"])

    def path(self, name: str) -> Path:
        """The file called `name` in the manifest.

        Raises:
            BundleError: it is not listed, is missing, leaves the bundle, or is reached through a link.
        """
        if name not in self.files:
            raise BundleError(f"{self.root} lists no file {name!r}. {AGAIN}")
        return self._inside(name, must_be_file=True)

    def folder(self, name: str) -> Path:
        """A folder inside the bundle; it need not exist (a preprocessing may have no assets).

        Raises:
            BundleError: it leaves the bundle, or is reached through a link.
        """
        return self._inside(name, must_be_file=False)

    def read(self, name: str) -> bytes:
        """The file's bytes.

        Raises:
            BundleError: as `path`, or the bytes are not those the manifest was written for.
        """
        data = self.path(name).read_bytes()
        if self.verified and hashlib.sha256(data).hexdigest() != self.files[name].get("sha256"):
            raise BundleError(f"{self.root / name} is not the file its manifest was written for. {AGAIN}")
        return data

    def _inside(self, name: str, *, must_be_file: bool) -> Path:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name or "\0" in name:
            raise BundleError(
                f"the manifest of {self.root} names {name!r}, which leaves the bundle. Next: do not use it."
            )
        path = self.root
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise BundleError(
                    f"{path} is a link; a bundle holds plain files only. Next: copy it with links followed."
                )
        if must_be_file and not path.is_file():
            raise BundleError(f"{path} is missing. {AGAIN}")
        return path

    def _refuse_unlisted_assets(self) -> None:
        """A preprocessing reads whatever lies in its folder, so that nothing may lie there unlisted."""
        for field in self.manifest["fields"]:
            folder = self.folder(field["preprocess"]["folder"])
            for value in field["preprocess"]["config"].values():
                if isinstance(value, str) and ("/" in value or "\\" in value or value == ".."):
                    raise BundleError(
                        f"the preprocessing of {field['name']!r} names {value!r}, which leaves its folder."
                    )
            for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
                name = path.relative_to(self.root).as_posix()
                if path.is_symlink() or (path.is_file() and name not in self.files):
                    raise BundleError(
                        f"{path} is not listed in the manifest. Next: remove it, or export the run again."
                    )
