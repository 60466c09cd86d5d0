"""automm: a multimodal AutoML framework. Importing it imports neither torch nor transformers."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automm.autotrainer import AutoTrainer

__all__ = ["AutoTrainer", "__version__"]
__version__ = version("automm")


def __getattr__(name: str) -> Any:
    if name == "AutoTrainer":
        from automm.registry import needing_extra

        with needing_extra("AutoTrainer"):
            from automm.autotrainer import AutoTrainer

        return AutoTrainer
    raise AttributeError(f"module 'automm' has no attribute {name!r}")
