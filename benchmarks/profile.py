"""Where a step's time goes: TensorFlow's own profile of a few steps inside a run, by kind of operation."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks.effort import Effort
from benchmarks.problem import engine_for, problem_for
from benchmarks.result import Report, Row
from benchmarks.runs import Timed, timed_iterates, warm_up
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.descent import OPTIMIZER_SCOPE
from stylefleet.recipe import Scale

STEPS_OF_AN_ITERATE = 10
"""The most that the engine does between two iterates."""

KINDS = {
    "input gradients of the convolutions": r".*gradient_tape.*:\w*Conv2D\w*",
    "convolutions, with bias and ReLU": r".*:\w*Conv2D\w*",
    "the optimizer: inner products, history, choice of the next point": rf".*/{OPTIMIZER_SCOPE}(_\d+)?/.*",
    "Gram matrices and their gradients": r".*(:\w*MatMul\w*|/matrix_transpose.*)",
    "pooling and its gradient": r".*:\w*(MaxPool|AvgPool)\w*",
    "gradient of ReLU": r".*:\w*ReluGrad",
    "conversions between precisions": r".*:Cast",
    "the rest of the objective: borders, squares and sums, total variation, sums of gradients": r".*",
}
"""What operations are told apart by, in this order: their name in the graph and their type."""
OPERATION = re.compile(r"[^:\s]+:(?!\w*PartitionedCall)\w+")
"""Events of other names lie around these: calls inside the runtime, and of functions."""
BETWEEN = "between operations: scheduling, and Python between two iterates"


@dataclass(frozen=True, kw_only=True)
class Span:
    """One run of one operation, `name:Type`."""

    name: str
    begin_ms: float
    end_ms: float


def measure(effort: Effort) -> list[Report]:
    """One picture at the full size."""
    problem, engine = problem_for(effort.size_px), engine_for("auto")
    height, width = problem.photo.shape[:2]
    iterations = STEPS_OF_AN_ITERATE * (2 * effort.repeats + 2)
    recipe = replace(problem.recipe, scales=(Scale(size_px=effort.size_px, iterations=iterations),))
    warm_up(engine, problem.photo[None], problem.style, recipe)
    iterates = timed_iterates(engine, problem.photo[None], problem.style, recipe)
    steps = next(iterates).iterate.iteration  # as many in every iterate; this one comes with the features of both
    before = median(_milliseconds(iterates) for _ in range(effort.repeats)) / steps
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        whole = sum(_milliseconds(iterates) for _ in range(effort.repeats)) / effort.repeats / steps
        tf.profiler.experimental.stop()
        spans = list(operations(Path(folder)))
    found = {kind: ms / effort.repeats / steps for kind, ms in time_by_kind(spans).items()}
    found[BETWEEN] = whole - sum(found.values())
    return [
        Report(
            title=f"Where a step's time goes, {width} x {height} px, {engine.precision}",
            rows=[
                Row(
                    what=kind,
                    measured=f"{ms:.1f} ms",
                    compared_with=f"the whole step: {whole:.0f} ms",
                    ratio=f"{ms / whole:.1%}",
                )
                for kind, ms in sorted(found.items(), key=lambda item: -item[1])
            ],
            notes=(
                f"TensorFlow's profiler over {effort.repeats * steps} steps in mid-run, each moment counted for the "
                "operation that ran; where two ran at once, half for each.",
                f"A step took {whole:.0f} ms while it was profiled, and {before:.0f} ms before.",
            ),
        )
    ]


def _milliseconds(iterates: Iterator[Timed]) -> float:
    """Until the next iterate is there."""
    started = time.perf_counter()
    next(iterates)
    return (time.perf_counter() - started) * 1000


def kind_of(name: str) -> str:
    """Of an operation `name:Type`."""
    return next(kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, name))


def time_by_kind(spans: Sequence[Span]) -> dict[str, float]:
    """Milliseconds in which something ran; what ran at the same time shares them."""
    begins = [(span.begin_ms, 1, kind_of(span.name)) for span in spans]
    ends = [(span.end_ms, -1, kind_of(span.name)) for span in spans]
    found: dict[str, float] = defaultdict(float)
    running: Counter[str] = Counter()
    before = 0.0
    for moment, change, kind in sorted(begins + ends):
        for name, count in running.items():
            if count:
                found[name] += (moment - before) * count / running.total()
        running[kind] += change
        before = moment
    return dict(found)


def operations(folder: Path) -> Iterator[Span]:
    """All in the profile that was written there; not the calls of functions, which are made up of others."""
    (written,) = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(written.read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if OPERATION.fullmatch(name):
                    begin = line.timestamp_ns / 1e6 + event.offset_ps / 1e9
                    yield Span(name=name, begin_ms=begin, end_ms=begin + event.duration_ps / 1e9)
