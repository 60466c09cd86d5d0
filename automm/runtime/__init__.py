"""Serving: bundles, preprocessing and prediction on numpy and ONNX Runtime, without torch.

ONNX Runtime is loaded when `Predictor` is first asked for: training shares the preprocessing here and needs no session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automm.runtime.bundle import Bundle
    from automm.runtime.predictor import Predictor

__all__ = ["Bundle", "Predictor"]


def __getattr__(name: str) -> Any:
    if name == "Predictor":
        from automm.runtime.predictor import Predictor

        return Predictor
    if name == "Bundle":
        from automm.runtime.bundle import Bundle

        return Bundle
    raise AttributeError(f"module 'automm.runtime' has no attribute {name!r}")
