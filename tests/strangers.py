"""Distributions of strangers, laid down as pip would: files, metadata and entry points."""

from pathlib import Path


def lay_down(folder: Path, name: str, entry_points: str, files: dict[str, str], *, version: str = "1.0") -> None:
    """Put a distribution into a folder that is on the path; `files` are relative to it."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)
