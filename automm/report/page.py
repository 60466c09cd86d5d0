"""The run's page: one HTML file that needs no network."""

from __future__ import annotations

from pathlib import Path

from plotly.offline import get_plotlyjs

from automm.report import columns, explained, samples, sections
from automm.report.data import ReportData
from automm.report.markup import Markup, join
from automm.report.metrics import words
from automm.report.sheet import part, sheet, write_sheet

NAME = "report.html"


def write_report(run_dir: Path, data: ReportData) -> Path:
    """Write `report.html` into `run_dir`, whole or not at all, and return its path.

    Raises:
        DataError: an image of a sample cannot be read.
    """
    path = run_dir / NAME
    write_sheet(path, render(data))
    return path


def render(data: ReportData) -> str:
    """The page's HTML."""
    settings = '<script>window.PlotlyConfig = {MathJaxConfig: "local"};</script>'
    return sheet(
        f"automm: {words(str(data.result.get('task')))}, seed {data.result.get('seed')}",
        _body(data),
        head=f"{settings}\n<script>{get_plotlyjs()}</script>",
        tail=part("repaint.html"),
    )


def _body(data: ReportData) -> Markup:
    parallel, importance = sections.parameters(data)
    curves, gradients = sections.training(data)
    return join(
        [
            sections.headline(data),
            sections.accuracy(data),
            explained.reliance(data),
            explained.calibration(data),
            sections.configuration(data),
            samples.samples(data),
            sections.search_history(data),
            parallel,
            importance,
            curves,
            gradients,
            sections.trials(data),
            columns.columns(data),
            sections.provenance(data),
        ]
    )
