"""The leaderboard's page and its Markdown twin as text; in a browser it is tried by ``test_leaderboard_browser``."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from leaderboard.entries import load_entries
from leaderboard.markdown import render_markdown
from leaderboard.markup import esc, interval, number, percent, prose, script_json, seconds
from leaderboard.page import MAX_BYTES, element_ids, render_page
from leaderboard.page_plots import curve_figure, scale_of
from leaderboard.verdict import DIFFERS, VERIFIED
from offmarl_bench.errors import FormatError
from tests.made_up_entries import full_board, made_up_entry, made_up_score

ROOT = Path(__file__).resolve().parent.parent
VOID = {"meta", "link", "input", "path", "rect", "wbr"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x1b[31m\u202e\u0000"


class Checked(HTMLParser):
    """Collects elements and fails on tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.found if tag in tags]


def parsed(page: str) -> Checked:
    checked = Checked()
    checked.feed(page)
    assert checked.open == []
    return checked


def embedded(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="board-data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.fixture(scope="module")
def full() -> str:
    return render_page(full_board())


def test_the_page_is_one_wellformed_file_that_names_no_other(full: str) -> None:
    page = parsed(full)
    ids = [a["id"] for _, a in page.found if "id" in a]
    assert len(ids) == len(set(ids))
    assert not [t for t, a in page.found for k in ("src", "srcset", "action", "style", "onclick") if k in a]
    assert {a["href"] for a in page.all("link")} == {"data:,"}
    inside = [a["href"] for a in page.all("a") if (a["href"] or "").startswith("#")]
    assert {h[1:] for h in inside if h} <= set(ids)
    outside = {a["href"] for a in page.all("a")} - set(inside)
    assert outside == {"https://example.org/made-up"}, "links lead out, but nothing is loaded"
    assert "url(" not in full
    assert "@import" not in full


def test_a_board_of_the_whole_paper_is_smaller_than_a_megabyte(full: str) -> None:
    assert MAX_BYTES == 10**6
    assert len(full.encode()) < MAX_BYTES


def test_a_larger_one_first_does_without_curves_then_says_that_it_is_large(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = full_board(("smac/2s3z/low-v1",), agents=4)
    small = len(render_page(entries).encode())
    assert "Mean greedy return" in render_page(entries)
    monkeypatch.setattr("leaderboard.page.MAX_BYTES", small)
    assert len(render_page(entries).encode()) < small
    assert caplog.text == ""
    monkeypatch.setattr("leaderboard.page.MAX_BYTES", 1000)
    assert "Mean greedy return" not in render_page(entries)
    assert re.search(r"the page has \d+ bytes, more than the 1000 it should have", caplog.text)


def test_the_policy_allows_exactly_the_style_and_script_that_are_there(full: str) -> None:
    policy = next(a["content"] for a in parsed(full).all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    for tag in ("style", "script"):
        inner = re.search(rf"<{tag}>(.*?)</{tag}>", full, re.DOTALL)
        assert inner
        digest = base64.b64encode(hashlib.sha256(inner[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_same_entries_give_the_same_page() -> None:
    assert render_page(full_board(agents=2)) == render_page(full_board(agents=2))


def test_tables_are_tables_with_captions_headings_and_scopes(full: str) -> None:
    page = parsed(full)
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(a.get("scope") in ("row", "col", "rowgroup") for a in page.all("th"))
    assert [a for a in page.all("th") if "aria-sort" in a]
    assert all(a.get("aria-hidden") == "true" for a in page.all("svg")), "said in words beside"
    labelled = {a["aria-labelledby"] for _, a in page.found if "aria-labelledby" in a}
    assert labelled <= {a["id"] for _, a in page.found if "id" in a}
    assert "<html lang=" in full


def test_a_name_full_of_tricks_stays_text() -> None:
    entry = made_up_entry(
        HOSTILE, [made_up_score(command=HOSTILE, config={HOSTILE: HOSTILE}, commit=HOSTILE, budget=HOSTILE)],
        agent=HOSTILE, description=HOSTILE, authors=(HOSTILE,), deviations=(HOSTILE,), preset=HOSTILE, created=HOSTILE,
        versions={HOSTILE: HOSTILE}, overrides={HOSTILE: HOSTILE}, config={HOSTILE: [HOSTILE]}, slug="x" + HOSTILE,
        problem=HOSTILE, commit=HOSTILE, url="javascript:alert(3)",
    )  # fmt: skip
    page = render_page([entry])
    assert len(parsed(page).all("script")) == 2
    assert parsed(page).all("img") == []
    assert not any(c in page for c in "\x1b\u202e\x00")
    assert "javascript:" not in {(a["href"] or "")[:11] for a in parsed(page).all("a")}
    assert embedded(page)["entries"][0]["name"] == HOSTILE
    assert html.escape("<script>alert(1)") in page
    text = render_markdown([entry])
    assert not re.search(r"(?<!\\)<(?!!--)", text), "Markdown lets HTML through unless it is escaped"
    assert "\x1b" not in text


def test_ids_are_letters_and_never_twice_the_same() -> None:
    entries = [made_up_entry(slug=s) for s in ("a b", "a-b", "a_b", "…", "—")]
    assert list(element_ids(entries).values()) == ["entry-a-b", "entry-a-b-1", "entry-a-b-2", "entry-x", "entry-x-1"]


def test_the_papers_rows_are_marked_and_apart(full: str) -> None:
    bodies = re.findall(r'<tbody role="rowgroup" class="aside paper">(.*?)</tbody>', full, re.DOTALL)
    assert len(bodies) == 6
    assert all("returns as printed, not scores; not comparable with the rows above, never ranked" in b for b in bodies)
    assert "real StarCraft II" in bodies[0]
    assert "real StarCraft II" not in bodies[2]
    assert "12.3 ± 1.6" in bodies[0]
    assert all(b.count('<span class="flag">paper</span>') == 7 for b in bodies)
    assert "data-entry" not in "".join(bodies)


def test_an_entry_in_full_says_everything_there_is() -> None:
    score = made_up_score(curves=True, config={"learning_rate": 0.0005, "beta": 0.25})
    entry = made_up_entry("Full", [score], state=VERIFIED, config={"learning_rate": 0.0005}, overrides={"beta": 0.25})
    page = render_page([entry])
    for text in (
        "✓ verified", "the replay agrees", "Replayed on 2026-11-21", "64 episodes", "with probability 0.01", "9.70",
        "9.50", "[−0.60, 1.00]", "Deviations from the paper", "every 200 updates instead of 100", "beta = 0.25",
        "Only on smac/2s3z/low-v1", "65cd19ded232", "offmarl-bench evaluate made-up --dataset smac/2s3z/low-v1",
        "Mean greedy return", "agreement", "5 × 32", "40.0, 41.0, 42.0, 43.0, 44.0", "15,000", "10 min", "991f83b72daa",
    ):  # fmt: skip
        assert text in page, text


def test_what_our_simulator_played_is_never_taken_for_the_real_game() -> None:
    note = "own simulator of the combat, not in StarCraft II"
    assert note in render_page([made_up_entry()])
    assert note not in render_page([made_up_entry(scores=[made_up_score(backend="sc2-4.10")])])
    assert note not in render_page([made_up_entry(scores=[made_up_score("mpe/PP_3p1p/low-v1")])])


def test_what_differs_says_so_where_it_is_seen() -> None:
    page = render_page([made_up_entry("Liar", state=DIFFERS)])
    assert page.count("≠ differs") == 2
    assert "not ranked: the replay differs from the claim" in page
    assert '<b class="badge differs">differs</b>' in page


def test_a_verdict_that_does_not_count_says_why() -> None:
    page = render_page([made_up_entry(problem="verdict.json: was changed after it was written")])
    assert "Nobody has replayed this submission" in page
    assert "was changed after it was written" in page


def test_the_data_hold_every_seed() -> None:
    data = embedded(render_page([made_up_entry("A", [made_up_score(scores=(1, 2, 3, 4, 5.00004))])]))["entries"][0]
    assert data["scores"] == [
        {
            "dataset": "smac/2s3z/low-v1",
            "seeds": [0, 1, 2, 3, 4],
            "scores": [1, 2, 3, 4, 5],
            "returns": [2.16, 2.32, 2.48, 2.64, 2.8],
        }
    ]
    assert data["boards"] == {"smac/low": {"overall": 3.0, "group": 1}}


def test_no_submissions_make_a_page_and_a_text_that_say_so() -> None:
    assert "No submissions yet" in render_page([])
    assert embedded(render_page([])) == {"entries": []}
    assert "There are no submissions yet." in render_markdown([])


def test_a_dataset_that_is_none_is_refused() -> None:
    with pytest.raises(FormatError, match="expected 'suite/map/quality'"):
        render_page([made_up_entry("a", [made_up_score("nonsense")])])


def test_markdown_shows_places_intervals_and_the_paper_apart() -> None:
    text = render_markdown(full_board(("smac/2s3z/low-v1", "smac/8m/low-v1")))
    assert "## StarCraft II (SMAC), low quality" in text
    assert re.search(r"\| 1 \| Birch \(made up\) \(birch\) \| ✓ verified \| \*\*[\d.]+\*\* \[[\d.]+, [\d.]+\] \|", text)
    assert "not ranked: 3 of 5 seeds" in text
    assert "**returns as printed**, not scores, not comparable, never ranked" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({r.count("|") for r in rows[:10]}) == 1


def test_leaderboard_md_is_what_the_submissions_give() -> None:
    assert (ROOT / "LEADERBOARD.md").read_text(encoding="utf-8") == render_markdown(load_entries()), (
        "stale: run `offmarl-bench leaderboard --markdown LEADERBOARD.md`"
    )


def test_numbers_as_readers_expect_them() -> None:
    assert (number(-3.14), number(-0.01), number(None), number(12.345, 2)) == ("−3.1", "0.0", "", "12.35")
    assert interval(-1, 2.55) == "[−1.0, 2.5]"
    assert (percent(0.031), percent(None)) == ("3 %", "")
    assert [seconds(x) for x in (None, 12, 620, 7200)] == ["", "12 s", "10 min", "2.0 h"]


def test_text_of_strangers_is_escaped_and_printable() -> None:
    assert esc("<b>&'\"\x07\u2066") == "&lt;b&gt;&amp;&#x27;&quot;??"
    assert prose("a\n<b>\r\nc") == "a\n&lt;b&gt;\nc"
    assert script_json({"x": "</script><!-- &\u2028"}) == '{"x":"\\u003c/script\\u003e\\u003c!-- \\u0026\\u2028"}'
    with pytest.raises(ValueError, match="Out of range float"):
        script_json(float("nan"))


def test_a_scale_has_room_for_everything_and_few_round_ticks() -> None:
    scale = scale_of([-37.0, 120.0])
    assert scale.low < -37 < 120 < scale.high
    assert scale.ticks == [0, 50, 100]
    assert scale_of([20.0]).ticks == [0, 20, 40, 60, 80, 100]
    assert scale_of([5.0], anchors=()).at(5.0) == pytest.approx(500)


def test_a_long_curve_is_thinned_and_an_empty_one_left_out() -> None:
    figure = curve_figure("loss", "d", [[(k, k * 0.5) for k in range(1000)]])
    assert figure.count("L") == 39
    assert "1 seed, 0 to 500" in figure
    assert curve_figure("loss", "d", [[], [(1, 2.0)]]) == ""
