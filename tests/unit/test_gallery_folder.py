"""`stylefleet gallery`: what of a run is on the page and in its folder, and what it says of what it cannot show."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stylefleet import naming, pictures, receipt
from stylefleet.cli import gallery
from stylefleet.errors import ExitCode, NotFound, SettingsInvalid
from stylefleet.naming import Ref
from stylefleet.plan import StyleShare
from stylefleet.store_memory import MemoryStore
from tests.bucket_runs import AFTER, BEFORE, BUCKET, picture, put_run
from tests.builders import RUN, failed_receipt


def data_of(folder: Path) -> dict[str, Any]:
    html = (folder / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def colour_of(file: Path) -> tuple[int, ...]:
    with Image.open(file) as opened:
        return tuple(opened.convert("RGB").getpixel((5, 5)))


def make(store: MemoryStore, to: Path, *names: str, full: bool = False) -> dict[str, dict[str, Any]]:
    """The pictures of the page by name."""
    assert gallery.run(store, BUCKET, names or ("spring",), to, full=full) is ExitCode.OK
    return {one["name"]: one for one in data_of(to)["pictures"]}


def test_each_picture_has_a_small_photo_and_result_what_it_took_and_where_the_whole_ones_are(tmp_path: Path) -> None:
    store = MemoryStore("service", "shop")
    put_run(store, keys=("catalog/shoes/a.jpg", "catalog/b.jpg"))
    shown = make(store, tmp_path / "out")
    assert list(shown) == ["b.jpg", "shoes/a.jpg"], "by name, below the folder that they share"
    one = shown["b.jpg"]
    for side, colour in (("left", BEFORE), ("right", AFTER)):
        assert colour_of(tmp_path / "out" / one[side]) == pytest.approx(colour, abs=6)
    details = dict(one["details"])
    assert details["Photo"] == "s3://shop/catalog/b.jpg"
    assert details["Result"] == "s3://shop/restyled/spring/b.jpg"
    assert details["Steps"] == "56"
    assert details["Optimize"] == "2 s"
    assert "fullLeft" not in one
    assert not (tmp_path / "out" / "pictures").exists()


def test_full_copies_the_very_bytes_and_what_browsers_do_not_show_in_a_form_that_they_do(tmp_path: Path) -> None:
    store = MemoryStore("service", "shop")
    put_run(store, keys=("catalog/a.jpg", "catalog/print.tif"))
    store.put(Ref("shop", "catalog/print.tif"), picture(BEFORE, format="TIFF"))
    shown = make(store, tmp_path / "out", full=True)
    copied = (tmp_path / "out" / shown["a.jpg"]["fullRight"]).read_bytes()
    assert copied == store.get(Ref("shop", "restyled/spring/a.jpg")).data
    converted = tmp_path / "out" / shown["print.tif"]["fullLeft"]
    assert Image.open(io.BytesIO(converted.read_bytes())).format == "WEBP"
    assert colour_of(converted) == pytest.approx(BEFORE, abs=6)


def test_a_print_that_has_no_preview_in_little_memory_is_shown_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore("service", "shop")
    put_run(store, keys=("catalog/print.png",))
    store.put(Ref("shop", "catalog/print.png"), picture(BEFORE, format="PNG", size=(1000, 500)))
    monkeypatch.setattr(pictures, "PREVIEW_PIXELS_MAX", 400_000)
    one = make(store, tmp_path / "out")["print.png"]
    with Image.open(tmp_path / "out" / one["left"]) as opened:
        assert opened.size == (480, 240)


def test_names_of_users_never_become_names_of_files(tmp_path: Path) -> None:
    store = MemoryStore("service", "shop")
    put_run(store, keys=("catalog/..\\..\\evil<script>.jpg", "catalog/con.jpg"))
    make(store, tmp_path / "out", full=True)
    files = [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    ours = re.compile(r"thumbnails/\d{6}-(before|after)\.webp|pictures/\d{6}-(before|after)\.jpg")
    assert len(files) == 10
    assert {file for file in files if not ours.fullmatch(file)} == {"index.html", ".made-by-stylefleet-gallery"}


def test_failed_pictures_are_there_with_reason_and_sentence(tmp_path: Path) -> None:
    store = MemoryStore("service", "shop")
    put_run(store, failed=("catalog/broken.jpg",))
    one = make(store, tmp_path / "out")["broken.jpg"]
    assert (one["reason"], one["message"]) == ("undecodable", "cannot be decoded")
    assert "left" not in one


def test_what_an_earlier_run_has_made_and_this_one_found_done_is_there_too(tmp_path: Path) -> None:
    store = MemoryStore("service", "shop")
    earlier = ("catalog/a.jpg", "catalog/b.jpg", "catalog/left.jpg", "catalog/again.jpg", "catalog/other.jpg")
    put_run(store, keys=earlier, run="e" * 16)
    store.delete(Ref("shop", "catalog/left.jpg"))
    store.put(Ref("shop", "restyled/spring/other.jpg"), picture(BEFORE))
    put_run(store, keys=("catalog/new.jpg",), failed=("catalog/again.jpg",), skipped=2)
    shown = make(store, tmp_path / "out")
    assert list(shown) == ["a.jpg", "again.jpg", "b.jpg", "new.jpg"]
    assert shown["again.jpg"]["reason"] == "undecodable", "what this run says of it counts"
    made_by = {name: dict(one["details"]).get("Made by") for name, one in shown.items()}
    assert made_by == {"a.jpg": "an earlier run", "again.jpg": None, "b.jpg": "an earlier run", "new.jpg": None}
    html = (tmp_path / "out" / "index.html").read_text()
    assert '<dt>Restyled</dt><dd dir="auto">1 of 2</dd>' in html


def test_of_two_receipts_about_one_picture_the_first_counts_as_for_the_report(tmp_path: Path) -> None:
    store = MemoryStore("service", "shop")
    put_run(store, keys=("catalog/a.jpg",))
    late = failed_receipt("catalog/a.jpg")
    store.put(Ref(BUCKET, naming.receipts_key("spring", RUN, 0, "pod-2", 0)), receipt.to_lines([late]))
    shown = make(store, tmp_path / "out")
    assert list(shown) == ["a.jpg"]
    assert "reason" not in shown["a.jpg"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda store: store.delete(Ref("shop", "restyled/spring/a.jpg")), "gone"),
        (lambda store: store.delete(Ref("shop", "catalog/a.jpg")), "gone"),
        (lambda store: store.put(Ref("shop", "restyled/spring/a.jpg"), picture(BEFORE)), "replaced"),
        (lambda store: store.put(Ref("shop", "catalog/a.jpg"), b"GIF89a"), "unsupported_format"),
    ],
    ids=["the result is gone", "the photo is gone", "the result is another one", "the photo is none"],
)
def test_what_cannot_be_shown_is_said_and_stops_nothing(tmp_path: Path, spoil: Any, reason: str) -> None:
    store = MemoryStore("service", "shop")
    put_run(store)
    spoil(store)
    shown = make(store, tmp_path / "out")
    assert shown["a.jpg"]["reason"] == reason
    assert "a.jpg" in shown["a.jpg"]["message"]
    assert "reason" not in shown["b.jpg"]


def test_several_runs_make_one_page_on_which_styles_can_be_chosen(tmp_path: Path) -> None:
    store = MemoryStore("service", "shop")
    put_run(store, "spring")
    scream = StyleShare(image=Ref("shop", "styles/scream.jpg"), etag="e", weight=3.0)
    waves = StyleShare(image=Ref("shop", "styles/waves.jpg"), etag="e", weight=1.0)
    put_run(store, "winter", styles=(scream, waves))
    gallery.run(store, BUCKET, ("spring", "winter"), tmp_path / "out", full=False)
    data = data_of(tmp_path / "out")
    assert [(one["name"], one.get("look", 0)) for one in data["pictures"]] == [
        ("a.jpg", 0),
        ("a.jpg", 1),
        ("b.jpg", 0),
        ("b.jpg", 1),
    ]
    assert [look["styles"] for look in data["looks"]] == [["waves.jpg"], ["scream.jpg", "waves.jpg"]]
    assert ["Blend", "scream.jpg 75%, waves.jpg 25%"] in data["looks"][1]["settings"]


def test_the_path_goes_to_stdout_and_the_rest_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore("service", "shop")
    put_run(store, failed=("catalog/broken.jpg",))
    make(store, tmp_path / "out")
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'index.html'}\n"
    assert "3 pictures, 1 without a result to show" in err


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    store = MemoryStore("service", "shop")
    put_run(store)
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(SettingsInvalid, match="not made by a gallery; choose another with --to"):
        gallery.run(store, BUCKET, ("spring",), tmp_path, full=False)


def test_a_name_without_pictures_says_what_to_look_at(tmp_path: Path) -> None:
    store = MemoryStore("service", "shop")
    with pytest.raises(NotFound, match="autumn: no status"):
        gallery.run(store, BUCKET, ("autumn",), tmp_path / "out", full=False)
    put_run(store, keys=())
    with pytest.raises(NotFound, match="no picture has ended yet; see:  stylefleet wait spring"):
        gallery.run(store, BUCKET, ("spring",), tmp_path / "out", full=False)
    assert not (tmp_path / "out").exists()
