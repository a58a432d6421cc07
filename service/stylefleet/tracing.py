"""Spans by OpenTelemetry: a trace for each picture, and in it a span for each of its stages.

Only imported where OTEL_EXPORTER_OTLP_ENDPOINT is set: the SDK is an extra (`stylefleet[tracing]`). The SDK reads its
other variables by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from stylefleet import __version__
from stylefleet.receipt import Receipt, Stage

SERVICE_NAME = "stylefleet-worker"
"""Where OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES name no other."""
CLOSE_SECONDS = 2.0
"""How long the end of a process waits for a collector: a worker that is told to end has better things to do."""

_Way = list[tuple[Stage, float, float]]
"""Stages with their beginnings and ends."""


class OpenTelemetrySpans:
    """A `spans.Spans`, which goes out in the background to the collector that the environment names."""

    def __init__(self, *, manifest: str, run: str, shard: int, attempt: str) -> None:
        self._attributes = {"manifest": manifest, "run": run, "shard": shard, "attempt": attempt}
        own = Resource({"service.name": SERVICE_NAME, "service.version": __version__})
        self._provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("stylefleet", __version__)
        self._since_1970 = time.time() - time.monotonic()
        self._ways: dict[str, _Way] = {}
        """Of pictures that have not ended, by task."""
        self._lock = threading.Lock()

    def stages(self, task_id: str, began: float, seconds: Mapping[Stage, float]) -> None:
        with self._lock:
            way = self._ways.setdefault(task_id, [])
            for stage, took in seconds.items():
                way.append((stage, began, began + took))
                began += took

    def ended(self, receipt: Receipt) -> None:
        with self._lock:
            way = self._ways.pop(receipt.task_id, [])
        now = time.monotonic()
        picture = self._tracer.start_span(
            "picture",
            start_time=self._nanoseconds(min((began for _, began, _ in way), default=now)),
            attributes={
                **self._attributes,
                "content": receipt.content,
                "outcome": receipt.outcome,
                "batch": receipt.batch,
                "iterations": receipt.iterations,
            },
        )
        if receipt.outcome == "failed":
            picture.set_status(trace.StatusCode.ERROR, f"{receipt.reason}: {receipt.message}")
        inside = trace.set_span_in_context(picture)
        for stage, began, end in way:
            span = self._tracer.start_span(stage, context=inside, start_time=self._nanoseconds(began))
            span.end(self._nanoseconds(end))
        picture.end(self._nanoseconds(max((end for _, _, end in way), default=now)))

    def close(self) -> None:
        # In a thread of its own, as the SDK waits for half a minute for a collector that does not answer.
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(CLOSE_SECONDS)

    def _nanoseconds(self, monotonic: float) -> int:
        return int((self._since_1970 + monotonic) * 1e9)
