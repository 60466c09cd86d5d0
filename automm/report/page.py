"""The run's page: one HTML file that needs no network."""

from __future__ import annotations

import html
from importlib.resources import files
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from automm.report import sections
from automm.report.data import ReportData
from automm.report.markup import Markup, join
from automm.report.metrics import words

NAME = "report.html"


def write_report(run_dir: Path, data: ReportData) -> Path:
    """Write `report.html` into `run_dir`, whole or not at all, and return its path.

    Raises:
        DataError: an image of a sample cannot be read.
    """
    path = run_dir / NAME
    partial = path.with_name(f".{NAME}.partial")
    partial.write_text(render(data), encoding="utf-8")
    partial.replace(path)
    return path


def render(data: ReportData) -> str:
    """The page's HTML."""
    here = files("automm.report")
    template = Template((here / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=html.escape(f"automm: {words(str(data.result.get('task')))}, seed {data.result.get('seed')}"),
        style=(here / "page.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        body=_body(data),
    )


def _body(data: ReportData) -> Markup:
    parallel, importance = sections.parameters(data)
    curves, gradients = sections.training(data)
    return join(
        [
            sections.headline(data),
            sections.accuracy(data),
            sections.configuration(data),
            sections.samples(data),
            sections.search_history(data),
            parallel,
            importance,
            curves,
            gradients,
            sections.trials(data),
            sections.provenance(data),
        ]
    )
