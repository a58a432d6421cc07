"""Spans as a collector gets them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from stylefleet import worker_main
from stylefleet.errors import SettingsInvalid
from stylefleet.settings import worker_settings
from stylefleet.spans import NoSpans
from stylefleet.tracing import OpenTelemetrySpans
from tests.builders import RUN, failed_receipt, make_receipt, make_task
from tests.collector import Collector, collector
from tests.unit.test_settings import WORKER


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


def spans() -> OpenTelemetrySpans:
    return OpenTelemetrySpans(manifest="spring", run=RUN, shard=3, attempt="pod-7")


def test_a_picture_is_a_trace_with_its_stages_where_they_were(there: Collector) -> None:
    before = time.time_ns()
    traced, task, began = spans(), make_task("catalog/a.jpg"), time.monotonic() - 100
    traced.stages(task.task_id, began, {"fetch": 1.0, "decode": 2.0})
    traced.stages(task.task_id, began + 10, {"style_target": 4.0, "optimize": 50.0})
    traced.stages(task.task_id, began + 64, {"encode": 0.5, "store": 0.25})
    traced.ended(make_receipt(task))
    traced.close()
    picture = there.pictures()["a.jpg"]
    assert picture.parent == b""
    about = {"manifest": "spring", "run": RUN, "shard": 3, "attempt": "pod-7", "content": "s3://shop/catalog/a.jpg"}
    assert picture.attributes.items() >= {**about, "outcome": "done"}.items()
    seconds = [
        (span.name, round((span.began - picture.began) / 1e9, 3), round((span.ended - picture.began) / 1e9, 3))
        for span in there.inside(picture)
    ]
    assert seconds == [
        ("fetch", 0.0, 1.0),
        ("decode", 1.0, 3.0),
        ("style_target", 10.0, 14.0),
        ("optimize", 14.0, 64.0),
        ("encode", 64.0, 64.5),
        ("store", 64.5, 64.75),
    ]
    assert round((picture.ended - picture.began) / 1e9, 3) == 64.75
    assert abs(picture.began - (before - 100e9)) < 60e9, "by the wall clock"
    assert len(there.spans) == 7


def test_a_picture_that_is_refused_says_why_and_pictures_do_not_mix(there: Collector) -> None:
    traced, good, bad = spans(), make_task("good.jpg"), make_task("bad.jpg")
    traced.stages(bad.task_id, time.monotonic(), {"fetch": 1.0})
    traced.stages(good.task_id, time.monotonic(), {"fetch": 2.0, "decode": 1.0})
    traced.ended(failed_receipt(bad, reason="truncated", message="the file ends early"))
    traced.ended(make_receipt(good))
    traced.ended(failed_receipt(make_task("never_begun.jpg")))
    traced.close()
    found = there.pictures()
    assert found["bad.jpg"].error == "truncated: the file ends early"
    assert found["good.jpg"].error == ""
    stages = {name: [span.name for span in there.inside(picture)] for name, picture in found.items()}
    assert stages == {"bad.jpg": ["fetch"], "good.jpg": ["fetch", "decode"], "never_begun.jpg": []}
    assert len({picture.trace for picture in found.values()}) == 3


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "stylefleet-worker"),
        ({"OTEL_SERVICE_NAME": "painters"}, "painters"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=art,team=shop"}, "art"),
    ],
)
def test_the_service_has_a_name_and_the_operator_may_give_another(
    there: Collector, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], name: str
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    traced = spans()
    traced.ended(make_receipt())
    traced.close()
    (span,) = there.spans
    assert span.resource["service.name"] == name


def test_headers_of_the_environment_are_sent(there: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hush")
    traced = spans()
    traced.ended(make_receipt())
    traced.close()
    assert there.headers[0]["x-key"] == "hush"


def test_nothing_of_opentelemetry_is_loaded_where_nobody_asks_for_spans() -> None:
    code = (
        "import sys, stylefleet.worker_main as w, stylefleet.settings as s;"
        f"print(type(w._spans(s.worker_settings({WORKER!r}))).__name__,"
        "sorted(m for m in sys.modules if m.startswith('opentelemetry')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "NoSpans []"


def test_a_worker_that_is_to_send_spans_and_cannot_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = worker_settings(WORKER | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    monkeypatch.setitem(sys.modules, "stylefleet.tracing", None)
    with pytest.raises(SettingsInvalid, match=r"pip install stylefleet\[tracing\], or unset it"):
        worker_main._spans(settings)
    assert isinstance(worker_main._spans(worker_settings(WORKER)), NoSpans)
