"""The leaderboard's page in a real browser: headless Chromium through Playwright, the file opened from the disk.

Every test also fails on a message in the console, an error of the script, a dialog, or a request for anything but the
page itself. Without a browser all of this is skipped, and the last lines of ``make check`` say so and why.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from leaderboard.page import render_page
from tests.made_up_entries import EVERY, full_board, made_up_entry, made_up_score

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in BROWSERS if (path := shutil.which(name))), None)
if CHROMIUM is None:
    pytest.skip(
        f"none of {', '.join(BROWSERS)} is installed, so the leaderboard page was not tried in a browser; "
        "Debian: apt-get install chromium",
        allow_module_level=True,
    )
DATASETS = tuple(d for d in EVERY if d.startswith(("smac/2s3z", "smac/8m", "mpe")))
FIRST = "#board-1"
PATIENCE = 30_000
"""Milliseconds until something that should happen counts as not happening: the machine may be busy."""
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>\"'&\x1b[31m\u202e"

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages as files."""
    folder = tmp_path_factory.mktemp("pages")
    some = [made_up_score(scores=(25, 28, 31)), made_up_score("smac/2s3z/medium-v1")]
    tricks: dict[str, Any] = {
        "agent": HOSTILE,
        "authors": (HOSTILE,),
        "description": HOSTILE,
        "url": "javascript:alert(4)",
    }
    boards = {
        "full": full_board(DATASETS, curves=False),
        "few": [made_up_entry("SIT (made up)", some)],
        "hostile": [made_up_entry(HOSTILE, **tricks)],
        "none": [],
        "whole": full_board(),
    }
    for name, entries in boards.items():
        (folder / f"{name}.html").write_text(render_page(entries), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in boards}


@pytest.fixture
def show(browser: Browser, pages: dict[str, Path]) -> Iterator[Open]:
    """Opens a page from the disk; afterwards nothing may have gone wrong in it."""
    wrong: list[str] = []
    contexts = []

    def opened(name: str = "full", fragment: str = "", width: int = 1280, height: int = 900, **options: object) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
            **options,  # type: ignore[arg-type]
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda m: wrong.append(f"console: {m.text}"))
        page.on("pageerror", lambda e: wrong.append(f"error: {e}"))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:,")) else wrong.append(f"asked {r.url}"))

        def refuse(dialog: object) -> None:
            wrong.append("a dialog opened")
            dialog.dismiss()  # type: ignore[attr-defined]

        page.on("dialog", refuse)
        page.goto(pages[name].as_uri() + fragment)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def names(page: Page, board: str = FIRST) -> list[str]:
    """Names in the rows that are seen, from top to bottom."""
    return [t.split(" ")[0] for t in page.locator(f"{board} tbody.entries tr:visible .name").all_inner_texts()]


def keys(page: Page, column: str) -> list[float | None]:
    """What the rows are sorted by in one column, from top to bottom; what is missing as None."""
    found: list[float | None] = page.evaluate(
        """([board, column]) => {
            const th = document.querySelector(`${board} th[data-column="${column}"]`);
            const rows = [...document.querySelectorAll(`${board} tbody.entries tr`)];
            return rows.map((r) => r.cells[th.cellIndex].dataset.key).map((k) => (k === "" ? null : Number(k)));
        }""",
        [FIRST, column],
    )
    return found


def sort(page: Page, column: str) -> None:
    page.click(f'{FIRST} th[data-column="{column}"] button')


def tab_to(page: Page, wanted: Locator, most: int = 20) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(most):
        if wanted.evaluate("e => e === document.activeElement"):
            return
        page.keyboard.press("Tab")
    expect(wanted).to_be_focused()


def test_it_opens_from_the_disk_and_shows_what_there_is(show: Open) -> None:
    page = show()
    assert page.title() == "Offline MARL leaderboard"
    expect(page.locator("#count")).to_have_text("8 of 8 entries shown")
    assert names(page)[0] == "Birch"
    assert page.locator("section.board").count() == 4
    assert page.get_by_role("table", name="Probability of improvement").count() == 4


def test_a_whole_board_and_an_empty_one_open_too(show: Open) -> None:
    assert show("whole").locator("section.board").count() == 6
    expect(show("none").get_by_role("heading", name="No submissions yet")).to_be_visible()


def test_a_heading_sorts_its_column_first_one_way_then_the_other(show: Open) -> None:
    page = show()
    sort(page, "d0")
    down = [k for k in keys(page, "d0") if k is not None]
    assert down == sorted(down, reverse=True)
    heading = page.locator(f'{FIRST} th[data-column="d0"]')
    expect(heading).to_have_attribute("aria-sort", "descending")
    expect(page.locator("#said")).to_have_text("Sorted by 2s3z, descending.")
    sort(page, "d0")
    assert keys(page, "d0") == sorted(down)
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert page.locator(f"{FIRST} th[aria-sort]").count() == 1


def test_names_sort_by_alphabet_and_groups_from_the_best(show: Open) -> None:
    page = show()
    sort(page, "name")
    assert names(page) == ["Aurora", "Birch", "Cormorant", "Dune", "Ember", "Fjord", "Grove", "Heron"]
    sort(page, "name")
    assert names(page)[0] == "Heron"
    sort(page, "place")
    assert names(page)[0] == "Birch"


def test_what_is_missing_sorts_last_both_ways(show: Open) -> None:
    page = show()
    for _ in range(2):
        sort(page, "place")
        places = keys(page, "place")
        assert places[-2:] == [None, None]
        assert None not in places[:-2]


def test_filters_hide_rows_and_their_pictures_and_keep_places(show: Open) -> None:
    page = show()
    before = page.locator(f"{FIRST} tr[data-entry=entry-dune-made-up] .place").inner_text()
    page.get_by_label("Verified only").check()
    assert set(names(page)) == {"Aurora", "Birch", "Dune", "Grove"}
    assert page.locator(f"{FIRST} figure >> nth=0 >> .dots li:visible").count() == 4
    assert page.locator(f"{FIRST} .matrix tbody tr:visible").count() == 4
    assert page.locator(f"{FIRST} .matrix tbody tr:visible >> nth=0 >> td:visible").count() == 4
    expect(page.locator("#count")).to_have_text("4 of 8 entries shown")
    page.get_by_label("Ranked only").check()
    assert set(names(page)) == {"Aurora", "Birch", "Dune"}
    assert page.locator(f"{FIRST} tr[data-entry=entry-dune-made-up] .place").inner_text() == before
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("#count")).to_have_text("8 of 8 entries shown")


def test_suite_and_quality_choose_tables(show: Open) -> None:
    page = show()
    page.get_by_label("Suite").select_option("mpe")
    assert page.locator("section.board:visible h3").all_inner_texts() == ["Low quality", "Medium quality"]
    expect(page.get_by_role("heading", name="StarCraft II (SMAC)")).to_be_hidden()
    page.get_by_role("combobox", name="Quality").select_option("medium")
    assert page.locator("section.board:visible").count() == 1


def test_search_finds_all_words_and_says_when_nothing_is_found(show: Open) -> None:
    page = show()
    page.get_by_label("Search").fill("MADE heron")
    assert names(page) == ["Heron"]
    page.get_by_label("Search").fill("no such agent")
    assert names(page) == []
    expect(page.locator(f"{FIRST} .nothing")).to_be_visible()
    expect(page.locator(f"{FIRST} .closer")).to_be_hidden()
    expect(page.locator("#count")).to_have_text("0 of 8 entries shown")


def test_scores_and_returns_take_turns_and_the_papers_rows_can_go(show: Open) -> None:
    page = show()
    cell = page.locator(f"{FIRST} tbody.entries tr >> nth=0 >> td >> nth=2")
    assert "[" in cell.inner_text()
    page.get_by_label("Show").select_option("return")
    assert "±" in cell.inner_text()
    bar = page.locator(f"{FIRST} tbody.paper")
    expect(bar).to_contain_text("real StarCraft II: returns as printed")
    page.get_by_label("Paper’s rows").uncheck()
    expect(bar).to_be_hidden()


def test_an_entry_opens_says_everything_and_closes_where_one_was(show: Open) -> None:
    page = show()
    link = page.locator(f"{FIRST} .name", has_text="Aurora")
    link.click()
    entry = page.get_by_role("dialog", name="Aurora (made up)")
    expect(entry).to_be_visible()
    for title in ("Verification", "Results", "Deviations from the paper", "Settings", "Make it again"):
        expect(entry.get_by_role("heading", name=title)).to_be_visible()
    expect(entry).to_contain_text("offmarl-bench evaluate made-up")
    assert page.evaluate("location.hash") == "#entry-aurora-made-up"
    page.keyboard.press("Escape")
    expect(entry).to_be_hidden()
    expect(link).to_be_focused()
    assert page.evaluate("location.hash") == ""
    link.click()
    entry.get_by_role("button", name="Close").click()
    expect(entry).to_be_hidden()


def test_an_entry_can_be_linked_to_and_back_closes_it(show: Open) -> None:
    page = show(fragment="#entry-dune-made-up")
    expect(page.get_by_role("dialog", name="Dune (made up)")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(f"{FIRST} .name", has_text="Heron").click()
    expect(page.get_by_role("dialog", name="Heron (made up)")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_everything_can_be_done_from_the_keyboard(show: Open) -> None:
    page = show()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the tables")).to_be_focused()
    assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Search")).to_be_focused()
    heading = page.locator(f'{FIRST} th[data-column="name"] button')
    tab_to(page, heading)
    assert heading.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert names(page)[0] == "Aurora"
    tab_to(page, page.locator(f"{FIRST} .name").first)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Aurora (made up)")).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        held = page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
        assert held, "the focus stays inside"


def test_hostile_names_are_shown_and_never_run(show: Open) -> None:
    page = show("hostile")
    page.wait_for_timeout(200)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    expect(page.locator(".name").first).to_contain_text("</script><script>alert(1)</script><img")
    page.locator(".name").first.click()
    expect(page.locator("dialog[open]")).to_contain_text("javascript:alert(4)")
    assert page.locator("dialog[open] a[href^=javascript]").count() == 0
    page.keyboard.press("Escape")
    page.get_by_label("Search").fill("<script>")
    expect(page.locator("#count")).to_have_text("1 of 1 entries shown")


def test_the_policy_would_stop_what_escaping_missed(show: Open, tmp_path: Path, browser: Browser) -> None:
    """A script and an image put into the finished file neither run nor load."""
    broken = tmp_path / "broken.html"
    text = render_page([made_up_entry()])
    broken.write_text(
        text.replace("<main", "<script>window.ran = 1</script><img src=http://localhost:9/x.png><main", 1)
    )
    page = browser.new_page()
    asked: list[str] = []
    page.on("requestfinished", lambda r: asked.append(r.url))
    page.goto(broken.as_uri())
    assert page.evaluate("window.ran") is None
    assert [url for url in asked if url.startswith("http")] == []
    expect(page.locator("#count")).to_have_text("1 of 1 entries shown")
    page.close()


@pytest.mark.parametrize("name", ["full", "few", "hostile", "none"])
@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_sideways_scrolling(show: Open, name: str, width: int) -> None:
    page = show(name, width=width, height=800)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if name != "none":
        first = page.locator("tbody.entries tr").first
        assert first.evaluate("e => getComputedStyle(e).display") == "block", "a card, not a row"
        assert (
            page.locator("tbody.entries td[data-label]:visible")
            .last.evaluate("e => getComputedStyle(e, '::before').content")
            .strip('"')
        )
        page.locator(".name").first.click()
        box = page.locator("dialog[open]").evaluate("e => [e.scrollWidth, e.clientWidth]")
        assert box[0] <= box[1]


def test_a_tablet_scrolls_the_table_and_not_the_page(show: Open) -> None:
    page = show("whole", width=820)
    assert page.evaluate("document.documentElement.scrollWidth") <= 820
    assert page.locator(f"{FIRST} .scroll").evaluate("e => e.scrollWidth > e.clientWidth")


def test_cards_can_still_be_sorted(show: Open) -> None:
    page = show(width=390)
    sort(page, "name")
    assert names(page)[:2] == ["Aurora", "Birch"]


CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
TEXTS = "p, a, th, td, li, label, button, caption, figcaption, h1, h2, h3, .chip, .badge, .range, .about, .matrix td"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_night(show: Open, scheme: str) -> None:
    page = show(color_scheme=scheme)
    for selector in TEXTS.split(", "):
        for ratio, what in page.evaluate(CONTRAST, selector):
            assert ratio >= 4.5, f"{selector} {what}: contrast {ratio:.1f} in {scheme}"


def test_dark_follows_the_system_and_the_button_overrules_it(show: Open) -> None:
    page = show(color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    button = page.get_by_role("button", name="Theme")
    expect(button).to_have_text("Theme: auto")
    button.click()
    expect(button).to_have_text("Theme: light")
    light = page.evaluate(ground)
    button.click()
    assert page.evaluate(ground) == dark != light
    page.reload()
    expect(button).to_have_text("Theme: dark")


def test_motion_is_small_and_can_be_refused(show: Open) -> None:
    page = show(fragment="#entry-dune-made-up")
    assert page.locator("dialog[open]").evaluate("e => getComputedStyle(e).animationName") == "none"
    page.emulate_media(reduced_motion="no-preference")
    assert page.locator("dialog[open]").evaluate("e => getComputedStyle(e).animationName") == "rise"


def test_screen_readers_are_told_what_is_what(show: Open) -> None:
    page = show()
    table = page.get_by_role("table", name="Normalised score of greedy play").first
    expect(table.get_by_role("columnheader", name="Overall")).to_be_visible()
    expect(table.get_by_role("rowheader", name="Aurora (made up)")).to_be_visible()
    expect(page.get_by_role("search")).to_be_visible()
    expect(page.get_by_role("navigation", name="Tables")).to_be_visible()
    picture = page.locator(f"{FIRST} .dots li").first
    assert "95 % interval" in picture.inner_text()
    assert "seeds" in picture.inner_text()


def test_without_scripts_the_tables_and_entries_are_there(show: Open) -> None:
    page = show(fragment="#entry-dune-made-up", java_script_enabled=False)
    expect(page.locator(f"{FIRST} tbody.entries .name")).to_have_count(8)
    expect(page.locator("#entry-dune-made-up")).to_be_visible()
    expect(page.locator("#entry-heron-made-up")).to_be_hidden()
    expect(page.locator("#filters")).to_be_hidden()
