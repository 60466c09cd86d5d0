import pytest

from automm.report import figures
from automm.report.metrics import drop, figure


@pytest.mark.parametrize(
    ("metric", "value", "written"),
    [
        ("balanced_accuracy", 0.5, "50.0 %"),
        ("recall@1", 0.5, "50.0 %"),
        ("specificity", 0.9, "90.0 %"),
        ("jaccard", 0.25, "25.0 %"),
        ("mape/north", 0.125, "12.5 %"),
        ("mape", 312.5, "31,250.0 %"),
        ("rmse", 0.125, "0.125"),
        ("f1", 0.9125, "0.9125"),
    ],
)
def test_shares_are_written_in_percent(metric, value, written):
    assert figure(value, metric) == written
    assert drop(value, metric) == written.replace("%", "points")


@pytest.mark.parametrize(("value", "top"), [(0.4, 1.02), (2.0, 2.04)])
def test_bars_of_shares_end_at_all_of_it_but_where_an_error_is_larger(value, top):
    layout = figures.group_bars(["overall"], {"found": {"overall": value}}, "mape").layout
    assert layout.yaxis.range == pytest.approx((0, top))
