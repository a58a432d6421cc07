"""From a manifest in a bucket to restyled pictures, with real S3, a real controller process and real workers."""

from __future__ import annotations

import io
import signal
from collections import Counter

import psutil
import pytest
from PIL import Image

from stylefleet.naming import Ref
from tests.fleet import Fleet, eventually, picture

pytestmark = pytest.mark.timeout(900)


def test_a_manifest_becomes_pictures_receipts_and_a_report_and_bad_files_stop_nothing(fleet: Fleet) -> None:
    fleet.put("catalog/plain.jpg", picture(seed=1))
    fleet.put("catalog/кошка 猫 & co.jpg", picture(32, 48, seed=2))
    fleet.put("catalog/one-pixel.png", picture(1, 1, image_format="PNG"))
    fleet.put("catalog/not-a-picture.jpg", b"not a picture")
    fleet.put("catalog/cut.jpg", picture(seed=3)[:400])
    fleet.put("catalog/notes.txt", b"no pattern matches this")
    fleet.put("jobs/wrong.yaml", b"a: 1\na: 2\n")
    fleet.submit("spring")
    fleet.start()

    rejected = fleet.wait("wrong", "Rejected")
    assert rejected["errors"][0] == {
        "path": "a",
        "message": "the key stands twice",
        "found": "",
        "allowed": "",
        "line": 2,
        "column": 1,
    }
    status = fleet.wait("spring", "PartiallySucceeded")
    assert status["progress"] == {"pictures": 5, "skipped": 0, "done": 2, "failed": 3, "pending": 0}
    assert fleet.result_keys("spring") == ["out/spring/plain.jpg", "out/spring/кошка 猫 & co.jpg"]
    result = fleet.store.get(Ref(fleet.bucket, "out/spring/кошка 猫 & co.jpg"))
    assert Image.open(io.BytesIO(result.data)).size == (32, 48), "the aspect ratio is kept"
    assert result.metadata["stylefleet-recipe"] == fleet.report("spring")["recipeDigest"]
    reasons = {f["content"].rpartition("/")[2]: f["reason"] for f in fleet.report("spring")["failures"]["first"]}
    assert reasons == {
        "one-pixel.png": "too_small",
        "not-a-picture.jpg": "unsupported_format",
        "cut.jpg": "truncated",
    }
    engine = fleet.report("spring")["engines"][0]
    assert engine["backbone"] == "vgg16-hed"
    assert engine["device"]
    assert engine["precision_reason"]


def test_a_killed_worker_redoes_only_what_has_no_receipt(fleet: Fleet) -> None:
    fleet.put_shapes(6)
    fleet.submit("spring", recipe={"preset": "draft", "size": 96})
    fleet.start()

    eventually(lambda: fleet.receipts("spring"), "a first receipt")
    worker = _worker(fleet)
    worker.send_signal(signal.SIGKILL)
    before_kill = fleet.receipts("spring")
    fleet.wait("spring", "Succeeded")

    receipts = fleet.receipts("spring")
    assert Counter(r.content for r in receipts) == {f"s3://{fleet.bucket}/catalog/{i}.jpg": 1 for i in range(6)}
    attempts = {r.attempt for r in receipts}
    assert len(attempts) == 2, "the picture in flight was done by a second attempt"
    assert 1 <= len(before_kill) < 6


def test_a_killed_controller_goes_on_where_it_was(fleet: Fleet) -> None:
    fleet.put_shapes(3)
    fleet.submit("spring", recipe={"preset": "draft", "size": 96})
    fleet.start()
    eventually(lambda: fleet.receipts("spring"), "a first receipt")
    fleet.stop(signal.SIGKILL)
    fleet.start()

    status = fleet.wait("spring", "Succeeded")
    assert status["progress"]["done"] == 3
    assert Counter(r.content for r in fleet.receipts("spring")).most_common(1)[0][1] == 1


def test_the_same_manifest_again_computes_only_new_pictures_and_a_style_only_once(fleet: Fleet) -> None:
    fleet.put("catalog/old.jpg", picture(seed=1))
    fleet.submit("spring")
    fleet.start()
    first = fleet.wait("spring", "Succeeded")
    cached = {o.ref.key: o.modified_at for o in fleet.store.list(Ref(fleet.bucket, "cache/style/"))}
    old = fleet.store.get(Ref(fleet.bucket, "out/spring/old.jpg"))

    fleet.put("catalog/new.jpg", picture(seed=2))
    fleet.submit("spring")
    eventually(lambda: fleet.status("spring")["run"] != first["run"], "the second submission is seen")
    second = fleet.wait("spring", "Succeeded")

    assert second["progress"] == {"pictures": 2, "skipped": 1, "done": 1, "failed": 0, "pending": 0}
    assert [r.content.rpartition("/")[2] for r in fleet.receipts("spring")].count("old.jpg") == 1
    assert fleet.store.get(Ref(fleet.bucket, "out/spring/old.jpg")).modified_at == old.modified_at
    assert {o.ref.key: o.modified_at for o in fleet.store.list(Ref(fleet.bucket, "cache/style/"))} == cached


def test_a_cancel_marker_stops_the_worker_and_keeps_what_is_done(fleet: Fleet) -> None:
    fleet.put_shapes(8)
    fleet.submit("spring", recipe={"preset": "draft", "size": 128})
    fleet.start()
    eventually(lambda: fleet.receipts("spring"), "a first receipt")
    worker = _worker(fleet)
    fleet.put("jobs/spring.cancel", b"")

    status = fleet.wait("spring", "Cancelled")
    assert status["progress"]["done"] >= 1
    assert status["progress"]["pending"] >= 1
    assert not worker.is_running()
    assert len(fleet.result_keys("spring")) >= status["progress"]["done"]


def test_deleting_the_manifest_cancels_too(fleet: Fleet) -> None:
    fleet.put_shapes(8)
    fleet.submit("spring", recipe={"preset": "draft", "size": 128})
    fleet.start()
    eventually(lambda: fleet.receipts("spring"), "a first receipt")
    fleet.store.delete(Ref(fleet.bucket, "jobs/spring.yaml"))

    status = fleet.wait("spring", "Cancelled")
    assert "deleted" in status["message"]


def _worker(fleet: Fleet) -> psutil.Process:
    """The worker process of the fleet's controller."""
    assert fleet.controller is not None
    children = psutil.Process(fleet.controller.pid).children()
    return next(c for c in children if "worker" in c.cmdline())
