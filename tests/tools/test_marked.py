"""Writing between two markers of a page."""

import pytest
from marked import END, begin, check, write

PAGE = f"# Figures\n\nBefore.\n\n{begin('known')}\n{END}\n\nBetween.\n\n{begin('draw')}\nold\n{END}\n\nAfter.\n"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_only_what_stands_between_is_replaced(page):
    write(page, "draw", "| new ± |\n")
    assert page.read_text(encoding="utf-8") == PAGE.replace("\nold\n", "\n| new ± |\n")
    write(page, "known", "first")
    assert page.read_text(encoding="utf-8").startswith(f"# Figures\n\nBefore.\n\n{begin('known')}\nfirst\n{END}\n\nBet")


def test_twice_is_as_once(page):
    write(page, "known", "a\n\nb\n")
    once = page.read_text(encoding="utf-8")
    write(page, "known", "a\n\nb\n")
    assert page.read_text(encoding="utf-8") == once


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# Figures\n", "has 0 lines <!-- measured: known -->"),
        (PAGE + begin("known"), "has 2 lines <!-- measured: known -->"),
        (f"{begin('known')}\n", "has no <!-- end -->"),
        (f"{begin('known')}\n{begin('draw')}\n{END}\n", "has no <!-- end -->"),
    ],
)
def test_a_page_without_its_markers_is_left_alone(page, text, said):
    page.write_text(text, encoding="utf-8")
    for act in (lambda: write(page, "known", "new"), lambda: check(page, "known")):
        with pytest.raises(SystemExit, match="Next: put ") as stopped:
            act()
        assert said in str(stopped.value)
        assert "page.md" in str(stopped.value)
    assert page.read_text(encoding="utf-8") == text


def test_a_missing_page_is_said_at_once(tmp_path):
    with pytest.raises(SystemExit, match=r"none\.md is no file\. Next: "):
        check(tmp_path / "none.md", "known")


def test_checking_writes_nothing(page):
    check(page, "draw")
    assert page.read_text(encoding="utf-8") == PAGE
