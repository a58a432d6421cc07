"""The report page as text: nothing that somebody names breaks out of it, it asks for nothing, and it stays short."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from typing import Any

import pytest

from stylefleet import report_page
from stylefleet.report_page import chart_of, common_folder, duration, nice_ceiling
from stylefleet.thumbnails import Pairs
from tests.report_pages import digest, document, page, thumbnails
from tests.unit.test_gallery import HOSTILE, Parsed

NONE = Pairs(pairs=(), refused="")


def words(html: str) -> str:
    return re.sub(r"\s+", " ", Parsed(html).text)


def test_hostile_texts_are_shown_as_they_are_and_add_no_tag_and_no_attribute() -> None:
    plain, hostile = Parsed(page("x")), Parsed(page(HOSTILE))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(attrs) for _, attrs in hostile.tags] == [sorted(attrs) for _, attrs in plain.tags]
    assert hostile.text.count(HOSTILE) >= 20
    assert hostile.raw["script"] == []


def test_the_policy_allows_the_pages_own_style_and_pictures_in_it_and_nothing_else() -> None:
    parsed = Parsed(page(HOSTILE))
    (policy,) = [
        str(attrs["content"]) for tag, attrs in parsed.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    (style,) = parsed.raw["style"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert dict(rule.split(" ", 1) for rule in policy.split("; ")) == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_page_names_no_address_and_needs_no_script() -> None:
    html = page("x")
    assert re.findall(r"https?:|url\(|@import|//[\w-]+\.\w+/", html.replace("s3://", "s3:")) == []
    for tag, attrs in Parsed(html).tags:
        assert tag not in ("script", "iframe", "object", "a", "form"), tag
        assert not [name for name in attrs if name == "style" or name.startswith("on")], tag
        assert str(attrs.get("src", "data:")).startswith("data:image/webp;base64,") or tag != "img"


def test_a_reader_finds_what_came_of_the_run() -> None:
    text = words(page())
    for expected in (
        "Partially succeeded",
        "Planned 1 Mar 2026, 12:00 UTC, ended 1 Mar 2026, 12:10 UTC",
        "some failed",
        "Restyled12of 17, 4 were there",
        "Failed529 % of them",
        "Time10 minfrom plan to end",
        "CostEUR 10.25estimated EUR 12.50",
        "21 pictures in the manifest",
        "Already there",
        "For 1,000 picturesEUR 854.17",
        "Worker-hours0.10",
        "Left out are the start of pods",
        "vgg16-hed",
        "5 without a result",
        "Slowest pictures",
        "64 × 48 px, 56 steps, in a batch of 2",
        "And 2 more, all in runs/spring/",
    ):
        assert expected in text, expected


def test_without_a_price_no_amount_is_told() -> None:
    html = report_page.render(document(cost=None), digest(), NONE, ended=15)
    assert "Cost" not in words(html)
    assert "Worker-hours" in words(html)


def test_a_sample_is_said_to_be_one_and_scaled_up() -> None:
    of_run = digest()
    html = report_page.render(document(), of_run, NONE, ended=1500)
    assert words(html).count("from a sample of 15 of 1,500 pictures") == 2
    whole, sampled = chart_of(of_run, ended=15), chart_of(of_run, ended=1500)
    assert whole is not None
    assert sampled is not None
    assert (whole.unit, sampled.unit) == ("pictures a minute", "pictures a second")


def test_where_pictures_may_not_be_read_the_page_says_what_the_store_said() -> None:
    refused = Pairs(pairs=(), refused=f"no right{HOSTILE}")
    html = report_page.render(document(), digest(), refused, ended=15)
    assert f"so there are no thumbnails: no right{HOSTILE}" in words(html)


def test_a_run_without_any_picture_divides_by_nothing() -> None:
    empty: dict[str, Any] = {
        "totals": {"pictures": 0, "skipped": 0, "done": 0, "failed": 0},
        "stageSeconds": dict.fromkeys(document()["stageSeconds"], 0.0),
        "failuresByReason": {},
        "unfinishedShards": {"indexes": "", "pictures": 0},
        "engines": [],
    }
    html = report_page.render(document(done=0, failed=0) | empty, digest(done=0, failed=0), NONE, ended=0)
    assert "No picture was computed in this run." in html


def test_of_very_many_reasons_the_most_frequent_are_told_and_the_rest_added_up() -> None:
    report = document()
    report["failuresByReason"] = {f"reason-{n:02}": 100 - n for n in range(20)}
    text = words(report_page.render(report, digest(), NONE, ended=15))
    assert "reason-1189" in text
    assert "reason-12" not in text
    assert f"8 other reasons{sum(100 - n for n in range(12, 20))}" in text


def test_numbers_that_are_none_do_not_break_the_page() -> None:
    odd = document()
    odd["stageSeconds"] = dict.fromkeys(odd["stageSeconds"], math.nan)
    assert "Slowest" in report_page.render(odd, digest(), NONE, ended=15)


def test_the_page_does_not_grow_with_the_catalog() -> None:
    def length(done: int, failed: int) -> int:
        report = document(done=40, failed=30)
        report["totals"] = {"pictures": done + failed, "skipped": 0, "done": done, "failed": failed}
        report["failuresByReason"] = {f"reason-{n}": 1 for n in range(failed // 100)}
        report["engines"] *= max(1, done // 100)
        return len(report_page.render(report, digest(done=done, failed=failed), thumbnails(), ended=done + failed))

    assert length(20_000, 5000) < length(2000, 2000) + 15_000


@pytest.mark.parametrize(
    ("value", "nice"), [(0.0, 1), (7.3, 8), (8.1, 10), (12, 15), (100, 100), (101, 150), (0.03, 0.03), (math.nan, 1)]
)
def test_axes_end_at_round_numbers(value: float, nice: float) -> None:
    assert nice_ceiling(value) == pytest.approx(nice)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.0471, "0.047 s"),
        (45, "45 s"),
        (100, "1.7 min"),
        (3000, "50 min"),
        (9000, "2.5 h"),
        (864_000, "10 d"),
    ],
)
def test_durations_are_told_in_the_unit_that_people_use(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("uris", "folder"),
    [
        ([], ""),
        (["s3://shop/a/b.jpg"], "s3://shop/a/"),
        (["s3://shop/a/b.jpg", "s3://shop/a/bc/d.jpg"], "s3://shop/a/"),
        (["s3://shop/ab.jpg", "s3://shop/ac.jpg"], "s3://shop/"),
        (["s3://shop/a.jpg", "s3://shops/a.jpg"], ""),
    ],
)
def test_names_are_told_below_the_folder_that_they_share(uris: list[str], folder: str) -> None:
    assert common_folder(uris) == folder
