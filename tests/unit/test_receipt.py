from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import receipt
from stylefleet.errors import RecordUnreadable
from stylefleet.receipt import AttemptStart
from tests.builders import FACTS, NOW, failed_receipt, make_receipt, make_task


def test_receipts_are_read_back_with_every_field() -> None:
    written = [
        make_receipt("catalog/a.jpg", shard=3),
        failed_receipt("catalog/b.jpg"),
        make_receipt("catalog/c.jpg", finished_at=NOW + timedelta(microseconds=7)),
        make_receipt(
            "catalog/d.jpg",
            worker_seconds=2.5,
            start=AttemptStart(style_hits=2, style_misses=1, died=1, stopped=3),
            engine=replace(FACTS, gpus=1),
        ),
    ]
    assert receipt.from_lines(receipt.to_lines(written)) == written


def test_a_receipt_is_one_line_of_json_with_seconds_to_a_tenth_of_a_millisecond() -> None:
    lines = receipt.to_lines([make_receipt(stage_seconds={"optimize": 1.23456789})])
    assert lines.endswith(b"\n")
    assert lines.count(b"\n") == 1
    assert json.loads(lines)["stage_seconds"] == {"optimize": 1.2346}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_message_and_a_key_may_hold_any_character(text: str) -> None:
    written = [make_receipt(message=text, content=text), make_receipt(reason=text)]
    assert receipt.from_lines(receipt.to_lines(written)) == written


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\n", "\r\n", '"'])
def test_a_character_that_ends_a_line_of_text_does_not_end_a_receipt(character: str) -> None:
    task = make_task(f"catalog/a{character}b.jpg")
    assert receipt.from_lines(receipt.to_lines([make_receipt(task), make_receipt(task)])) == [make_receipt(task)] * 2


def test_no_receipts_are_no_bytes() -> None:
    assert receipt.to_lines([]) == b""
    assert receipt.from_lines(b"") == []


def test_fields_of_a_newer_version_are_left_out() -> None:
    data = json.loads(receipt.to_lines([make_receipt()]))
    data["joules"] = 5
    data["engine"]["driver"] = "570.1"
    data["start"] = {"style_hits": 2, "style_misses": 0, "died": 0, "stopped": 0, "mood": "good"}
    start = AttemptStart(style_hits=2, style_misses=0, died=0, stopped=0)
    assert receipt.from_lines(json.dumps(data).encode()) == [make_receipt(start=start)]


def test_fields_that_an_earlier_version_did_not_know_are_their_defaults() -> None:
    data = json.loads(receipt.to_lines([make_receipt()]))
    for late in ("worker_seconds", "start"):
        del data[late]
    del data["engine"]["gpus"]
    assert receipt.from_lines(json.dumps(data).encode()) == [make_receipt()]


def test_a_receipt_without_engine_is_read_back_without() -> None:
    written = replace(failed_receipt("catalog/a.jpg"), engine=None)
    assert receipt.from_lines(receipt.to_lines([written]))[0].engine is None
    assert receipt.from_lines(receipt.to_lines([make_receipt()]))[0].engine == FACTS


@pytest.mark.parametrize("data", [b"{}\n", b"not json\n", b'{"task_id": "half', b"[]\n"])
@pytest.mark.parametrize("read", [receipt.from_lines, receipt.done_from_lines, receipt.done_of_whole])
def test_what_is_no_receipt_is_a_plain_error(read: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(RecordUnreadable, match="cannot be read"):
        read(data)


def test_the_short_form_has_the_tasks_that_were_done() -> None:
    a, b = (
        make_receipt("catalog/a.jpg"),
        make_receipt("catalog/b\u2028.jpg", result_etag="result-of-b", finished_at=NOW + timedelta(microseconds=7)),
    )
    written = receipt.to_lines([a, failed_receipt("catalog/c.jpg"), b])
    assert receipt.done_from_lines(written) == [
        (a.task_id, a.result_etag, a.finished_at.timestamp()),
        (b.task_id, "result-of-b", NOW.timestamp() + 7e-6),
    ]


def test_what_a_shard_has_done_is_read_back_from_one_object() -> None:
    done = receipt.done_among([make_receipt("catalog/a.jpg"), failed_receipt("catalog/c.jpg"), make_receipt("b.jpg")])
    assert len(done) == 2
    assert receipt.done_of_whole(receipt.done_to_lines(done)) == done
    assert receipt.done_from_lines(receipt.to_lines([make_receipt("catalog/a.jpg")])) == done[:1]
    assert receipt.done_of_whole(receipt.done_to_lines([])) == []


@pytest.mark.parametrize(
    "line", [b'["a", "b"]', b'["a", "b", "c"]', b'["a", "b", 1, 2]', b'["a", 5, 1]', b'["\\u2028", "b", 1]']
)
def test_what_is_no_list_of_what_was_done_is_a_plain_error(line: bytes) -> None:
    with pytest.raises(RecordUnreadable, match="what a shard has done cannot be read"):
        receipt.done_of_whole(line)


@pytest.mark.parametrize("change", [{"task_id": 5}, {"task_id": ["x"]}, {"result_etag": "\ud800"}, {"finished_at": 7}])
def test_what_no_file_of_notes_could_hold_is_no_receipt(change: dict[str, object]) -> None:
    data = json.loads(receipt.to_lines([make_receipt()])) | change
    with pytest.raises(RecordUnreadable, match="a receipt cannot be read"):
        receipt.done_from_lines(json.dumps(data).encode())
