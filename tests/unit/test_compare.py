"""`stylefleet compare`: which pictures stand beside each other, and what is said of the two recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylefleet.cli import compare
from stylefleet.cli.compare import differing
from stylefleet.errors import ExitCode, NotFound, SettingsInvalid
from stylefleet.naming import Ref
from stylefleet.presets import recipe_for
from stylefleet.store_memory import MemoryStore
from tests.bucket_runs import AFTER, BUCKET, put_run
from tests.builders import RUN
from tests.unit.test_gallery_folder import colour_of, data_of

BOLD = (20, 160, 90)


def two_runs() -> MemoryStore:
    store = MemoryStore("service", "shop")
    put_run(store, "soft", keys=("catalog/a.jpg", "catalog/b.jpg", "catalog/c.jpg"))
    bold = recipe_for(preset="draft", size_px=64, content_weight=200)
    put_run(store, "bold", keys=("catalog/b.jpg", "catalog/a.jpg"), failed=("catalog/c.jpg",), colour=BOLD, recipe=bold)
    return store


def make(store: MemoryStore, to: Path, first: str = "soft", second: str = "bold", *, full: bool = False) -> str:
    assert compare.run(store, BUCKET, first, second, to, full=full) is ExitCode.OK
    return (to / "index.html").read_text(encoding="utf-8")


def test_the_results_of_one_photo_stand_beside_each_other_the_first_run_on_the_left(tmp_path: Path) -> None:
    html = make(two_runs(), tmp_path / "out", full=True)
    data = data_of(tmp_path / "out")
    assert data["sides"] == ["soft", "bold"]
    assert data["sideBySide"] is True
    assert [one["name"] for one in data["pictures"]] == ["a.jpg", "b.jpg", "c.jpg"]
    for one in data["pictures"][:2]:
        for side, colour in (("left", AFTER), ("right", BOLD), ("fullLeft", AFTER), ("fullRight", BOLD)):
            assert colour_of(tmp_path / "out" / one[side]) == pytest.approx(colour, abs=6)
    assert "soft on the left, bold on the right" in html


def test_what_failed_in_one_of_them_is_said_with_the_run_in_which(tmp_path: Path) -> None:
    make(two_runs(), tmp_path / "out")
    one = data_of(tmp_path / "out")["pictures"][2]
    assert (one["reason"], one["message"]) == ("undecodable", "bold: cannot be decoded")


def test_what_failed_alike_in_both_is_said_once(tmp_path: Path) -> None:
    store = two_runs()
    put_run(store, "soft", keys=("catalog/a.jpg",), failed=("catalog/c.jpg",))
    make(store, tmp_path / "out")
    assert data_of(tmp_path / "out")["pictures"][1]["message"] == "soft and bold: cannot be decoded"


def test_a_result_that_was_replaced_is_said_with_its_run(tmp_path: Path) -> None:
    store = two_runs()
    store.put(Ref("shop", "restyled/soft/a.jpg"), b"another")
    make(store, tmp_path / "out")
    one = data_of(tmp_path / "out")["pictures"][0]
    assert one["reason"] == "replaced"
    assert one["message"].startswith("soft: s3://shop/restyled/soft/a.jpg")


def test_the_head_of_the_page_names_the_settings_that_differ_and_no_others(tmp_path: Path) -> None:
    html = make(two_runs(), tmp_path / "out")
    head = html.partition("<main>")[0]
    assert '<dt>Content weight</dt><dd dir="auto">1000 vs 200</dd>' in head
    assert "Style weight" not in head
    details = dict(data_of(tmp_path / "out")["pictures"][0]["details"])
    assert details["Content weight"] == "1000 vs 200"
    assert details["Style weight"] == "0.01"


def test_pictures_of_one_run_only_are_counted_and_left_out(tmp_path: Path) -> None:
    store = two_runs()
    put_run(store, "more", keys=("catalog/a.jpg", "catalog/x.jpg", "catalog/y.jpg"))
    html = make(store, tmp_path / "out", "soft", "more")
    assert [one["name"] for one in data_of(tmp_path / "out")["pictures"]] == ["a.jpg"]
    assert "4 pictures are in one of the runs only." in html


def test_an_older_run_is_asked_for_by_its_id(tmp_path: Path) -> None:
    make(two_runs(), tmp_path / "out", "soft", f"bold@{RUN}")
    assert data_of(tmp_path / "out")["sides"] == ["soft", f"bold@{RUN}"]


def test_one_run_twice_and_runs_of_other_pictures_are_refused(tmp_path: Path) -> None:
    store = two_runs()
    with pytest.raises(SettingsInvalid, match="found soft twice, allowed are two runs"):
        compare.run(store, BUCKET, "soft", "soft", tmp_path / "out", full=False)
    put_run(store, "other", keys=("catalog/x.jpg",))
    with pytest.raises(NotFound, match="soft and other have no picture in common"):
        compare.run(store, BUCKET, "soft", "other", tmp_path / "out", full=False)
    with pytest.raises(NotFound, match="soft: its run 00 was never planned"):
        compare.run(store, BUCKET, "soft@00", "other", tmp_path / "out", full=False)
    assert not (tmp_path / "out").exists()


def test_rows_that_agree_have_one_value_and_what_one_lacks_is_a_dash() -> None:
    assert differing((("a", "1"), ("b", "2")), (("a", "1"), ("c", "3"))) == (
        ("a", "1"),
        ("b", "2 vs –"),
        ("c", "– vs 3"),
    )
