"""What the processor is and can do: chooses a bundle's variant, and dates every latency that is reported."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

# Instruction sets that decide which kernels run; every other flag is noise in a manifest.
_FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "avx_vnni", "amx_int8", "amx_bf16", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """Model, architecture, instruction sets and core counts, as plain JSON."""
    fields = _cpuinfo()
    model = fields.get("model name") or platform.processor() or platform.machine()
    return {
        "model": model,
        "arch": platform.machine(),
        "flags": sorted(flags()),
        "logical": usable(),
        "physical": physical(),
    }


def flags() -> frozenset[str]:
    """The instruction sets this processor has, of those that matter here; empty where the system does not say."""
    fields = _cpuinfo()
    every = set((fields.get("flags") or fields.get("Features") or "").split())
    return frozenset(every.intersection(_FLAGS))


def usable() -> int:
    """Logical processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical() -> int:
    """Physical cores, never more than `usable()`."""
    text = _cpuinfo_text()
    cores = set()
    package = ""
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "physical id":
            package = value
        elif key == "core id":
            cores.add((package, value))
    return min(len(cores) or usable(), usable())


def _cpuinfo() -> dict[str, str]:
    """The first processor's entry."""
    entry: dict[str, str] = {}
    for line in _cpuinfo_text().splitlines():
        if not line.strip() and entry:
            break
        key, _, value = line.partition(":")
        entry[key.strip()] = value.strip()
    return entry


@lru_cache(maxsize=1)
def _cpuinfo_text() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(errors="replace") if path.is_file() else ""
