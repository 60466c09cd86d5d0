"""Where a fit runs and in which precision, as a quiet Lightning Fabric."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import torch

from automm.blame import out_of_memory
from automm.errors import ConfigError, TrialFailed
from automm.settings import TrainingSettings
from automm.types import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(settings: TrainingSettings) -> Fabric:
    """One device, in the precision asked for; `auto` is a GPU where there is one, and half the bits there.

    Raises:
        ConfigError: the device is not there.
    """
    with _version_only("torchmetrics"):
        from lightning_fabric import Fabric  # late: it takes seconds, and the process that only searches needs none

    accelerator = device_name(settings)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric")  # advice on devices the user chose not to use
        return Fabric(accelerator=accelerator, devices=1, precision=_precision(settings, accelerator))


@contextmanager
def _version_only(package: str) -> Iterator[None]:
    """While the block runs, importing a package gives its version and no more.

    Fabric imports torchmetrics for its version alone, and with it come transformers and torchvision: seconds in every
    process that trains.
    """
    try:
        found = None if package in sys.modules else version(package)
    except PackageNotFoundError:
        found = None
    if found is None:
        yield
        return
    sys.modules[package] = stand_in = ModuleType(package)
    stand_in.__dict__["__version__"] = found
    try:
        yield
    finally:
        del sys.modules[package]


def _precision(settings: TrainingSettings, accelerator: str) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    if settings.precision != "auto":
        return settings.precision
    if accelerator == "cpu":
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


def device_name(settings: TrainingSettings) -> str:
    """`cpu` or `cuda`.

    Raises:
        ConfigError: CUDA was asked for and torch sees none.
    """
    found = torch.cuda.is_available()
    if settings.device == "cuda" and not found:
        raise ConfigError(
            "device=cuda was asked for, and torch sees no CUDA device. "
            "Next: use device=auto or device=cpu, or install a torch built for your GPU."
        )
    return "cuda" if found and settings.device != "cpu" else "cpu"


def device_model(settings: TrainingSettings) -> str:
    """The name of the GPU that trains, or `cpu`; raises what `device_name` does."""
    return torch.cuda.get_device_name() if device_name(settings) == "cuda" else "cpu"


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    if device.type == "cpu":
        return batch
    return Batch(
        {f: {k: t.to(device, non_blocking=True) for k, t in tensors.items()} for f, tensors in batch.inputs.items()},
        {f: t.to(device, non_blocking=True) for f, t in batch.rows.items()},
        {f: t.to(device, non_blocking=True) for f, t in batch.present.items()},
        {n: t.to(device, non_blocking=True) for n, t in batch.targets.items()},
        batch.index,
    )


@contextmanager
def memory_errors(asked: str) -> Iterator[None]:
    """Memory running out ends the trial; `asked` says what took it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise TrialFailed(
            f"out of memory with {asked}: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error
