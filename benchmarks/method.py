"""The whole method against plain ones: seconds until a picture is as good as a plain one after many evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.effort import Effort
from benchmarks.peers import FIRST_MOVE, Sample, keras_example, plain_adam, seed_loop
from benchmarks.problem import problem_for
from benchmarks.progress import progress_of
from benchmarks.result import Report, Row, times
from benchmarks.runs import finished, judge_for
from stylefleet.recipe import Precision, Preset

GOAL = 10
"""How many times sooner than the seed article's loop."""


@dataclass(frozen=True, kw_only=True)
class Ours:
    """A way of ours that is compared."""

    preset: Preset
    precision: Precision = "auto"
    steps: tuple[int, ...] = ()
    """At sizes that double up to the full one, instead of the preset's."""
    label: str = ""
    """The name of a schedule that is no preset's."""


BALANCED = (Ours(preset="balanced"), Ours(preset="balanced", precision="float32"))
OTHERS = (
    Ours(preset="draft"),
    Ours(preset="fine"),
    Ours(preset="balanced", steps=(60, 40, 90), label="few coarse steps"),
    Ours(preset="balanced", steps=(130,), label="full size only"),
)

NOTES = (
    "Objective: the recipe's own (relative Gram, content and total variation terms), of the clipped picture, evaluated "
    "at the full size in float32 by code that is not the engine's, on plain Keras layers. Evaluating it is not timed.",
    "Not timed on either side: process start, loading TensorFlow and weights, tracing and the first call, decoding. "
    "Timed on ours: style targets and content features of every scale, and reading the loss of every iterate.",
    "Our time is that of the first iterate at or below the peer's objective. An iterate comes every few steps, and of "
    "a coarser scale only the last one is looked at, so the picture was as good somewhat earlier.",
    "All have the same targets; of the content, that is the photo in the style's colours. The peers start from the "
    "photo, as their descriptions say, ours from the photo in the style's colours, which is a part of the method.",
    "`few coarse steps` and `full size only` are `balanced` with schedules made for this objective and not for the "
    "eye: 60 steps at a quarter of the size, 40 at half, 90 at the full size; and 130 at the full size alone.",
)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A plain method."""

    name: str
    run: Callable[..., list[Sample]]
    note: str
    """What of its description was kept, and what was not."""
    goal: str = ""
    """What is aimed at, for the ratio's cell; empty if nothing is."""


SEED_LOOP = Peer(
    name="seed loop",
    run=seed_loop,
    note="Seed loop: the seed article's way, SciPy's L-BFGS-B in float64 around loss and gradient in float32; content, "
    "style and picture go through the network in every evaluation. The optimizer is called once, so it keeps its "
    "history, and the best picture so far counts.",
    goal=f" (goal {GOAL} x)",
)
KERAS_EXAMPLE = Peer(
    name="keras.io example's way",
    run=keras_example,
    note="keras.io example's way: content, style and picture as one batch of three in every step, gradient descent "
    "whose rate falls by 4 % every 100 steps. The example's rate of 100 belongs to its own loss; here the first step "
    f"moves the pixel that moves most by {FIRST_MOVE:.0f} of 255.",
)
PLAIN_ADAM = Peer(
    name="plain Adam",
    run=plain_adam,
    note="Plain Adam: targets computed once; the rate of 1 of 255 falls by a tenth every 200 steps.",
)


def measure(effort: Effort) -> list[Report]:
    """The seed article's loop, at the full size."""
    return [comparison((SEED_LOOP,), (*BALANCED, *OTHERS), effort.size_px, evaluations=effort.evaluations)]


def measure_others(effort: Effort) -> list[Report]:
    """The other two, at half of the size, where they take a quarter of the time."""
    return [comparison((KERAS_EXAMPLE, PLAIN_ADAM), BALANCED, effort.size_px // 2, evaluations=effort.evaluations)]


def comparison(peers: Sequence[Peer], ours: Sequence[Ours], size_px: int, *, evaluations: int) -> Report:
    """Each peer's run, ours, and how much sooner each of ours gets to each peer's objective."""
    problem, judge = problem_for(size_px), judge_for(size_px)
    height, width = problem.photo.shape[:2]
    runs_of_peers = [
        peer.run(problem, judge, evaluations=evaluations, progress=progress_of(peer.name)) for peer in peers
    ]
    rows = []
    for way in ours:
        run = finished(way.preset, size_px, way.precision, way.steps)
        computed_in = f" ({run.precision})" if way.precision == "auto" else ""
        name = f"`{way.label or way.preset}`, {way.precision}{computed_in}"
        for peer, theirs in zip(peers, runs_of_peers, strict=True):
            rows += arrival(name, run.samples, peer, theirs)
    return Report(
        title=f"Time to an objective, {width} x {height} px: {' and '.join(peer.name for peer in peers)}",
        rows=rows,
        notes=(*(peer.note for peer in peers), *NOTES),
    )


def arrival(name: str, ours: Sequence[Sample], peer: Peer, theirs: Sequence[Sample]) -> list[Row]:
    """When ours was first as good as a peer at its end; if it never was, also how long the peer takes to ours."""
    our_end, their_end = ours[-1], theirs[-1]
    compared_with = f"{peer.name}: {their_end.seconds:.1f} s, {their_end.evaluations} evaluations"
    reached = first_at_or_below(ours, their_end.objective)
    if reached is not None:
        steps = f"{reached.seconds:.1f} s, {reached.evaluations} steps"
        return [
            Row(
                what=f"{name}, to {their_end.objective:.1f}",
                measured=f"{steps} (its end: {our_end.objective:.1f}, {our_end.seconds:.1f} s)",
                compared_with=compared_with,
                ratio=times(their_end.seconds, reached.seconds, "sooner", "later") + peer.goal,
            )
        ]
    # Of the peer, the last sample that was not yet as good: nothing is claimed that was not seen.
    behind = max((s for s in theirs if s.objective > our_end.objective), key=lambda s: s.evaluations, default=None)
    since = "not as good" if behind else "already as good"
    known = behind or theirs[0]
    return [
        Row(
            what=f"{name}, to {their_end.objective:.1f}",
            measured="not reached",
            compared_with=compared_with,
            ratio=f"not reached{peer.goal}",
        ),
        Row(
            what=f"{name}, to its own end, {our_end.objective:.1f}",
            measured=f"{our_end.seconds:.1f} s, {our_end.evaluations} steps",
            compared_with=f"{peer.name}: {since} after {known.seconds:.1f} s, {known.evaluations} evaluations",
            ratio=("at least " if behind else "") + times(known.seconds, our_end.seconds, "sooner", "later"),
        ),
    ]


def first_at_or_below(samples: Sequence[Sample], objective: float) -> Sample | None:
    """The earliest sample that is as good; None if there is none."""
    return next((sample for sample in samples if sample.objective <= objective), None)
