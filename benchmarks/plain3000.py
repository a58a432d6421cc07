"""`fine` against a very long run of plain Adam: is the short way as good at the end? Takes long; run by name only."""

from __future__ import annotations

from benchmarks.effort import Effort
from benchmarks.method import NOTES, PLAIN_ADAM, first_at_or_below
from benchmarks.peers import plain_adam
from benchmarks.problem import problem_for
from benchmarks.progress import progress_of
from benchmarks.result import Report, Row, times
from benchmarks.runs import finished, judge_for


def measure(effort: Effort) -> list[Report]:
    """At half the size: final objective of both, and time."""
    size_px = effort.size_px // 2
    problem, judge = problem_for(size_px), judge_for(size_px)
    fine = finished("fine", size_px, "auto")
    ours = fine.samples
    theirs = plain_adam(problem, judge, evaluations=effort.long_evaluations, progress=progress_of("plain Adam"))
    our_end, their_end = ours[-1], theirs[-1]
    reached = first_at_or_below(ours, their_end.objective)
    overtaken = first_at_or_below(theirs, our_end.objective)
    height, width = problem.photo.shape[:2]
    rows = [
        Row(
            what="objective at the end",
            measured=f"{our_end.objective:.2f}",
            compared_with=f"{their_end.objective:.2f}",
            ratio=f"{our_end.objective / their_end.objective:.3f} of plain Adam's",
        ),
        Row(
            what="time of the whole run",
            measured=f"{our_end.seconds:.1f} s, {our_end.evaluations} steps",
            compared_with=f"{their_end.seconds:.1f} s, {their_end.evaluations} steps",
            ratio=times(their_end.seconds, our_end.seconds),
        ),
        Row(
            what="until the picture is as good as plain Adam's last",
            measured=f"{reached.seconds:.1f} s" if reached else "not reached",
            compared_with=f"{their_end.seconds:.1f} s",
            ratio=times(their_end.seconds, reached.seconds, "sooner", "later") if reached else "not reached",
        ),
        Row(
            what="until the picture is as good as the last of `fine`",
            measured=f"{our_end.seconds:.1f} s",
            compared_with=f"{overtaken.seconds:.1f} s" if overtaken else "not reached",
            ratio=times(overtaken.seconds, our_end.seconds, "sooner", "later")
            if overtaken
            else "plain Adam never gets there",
        ),
    ]
    title = f"`fine` ({fine.precision}) against {effort.long_evaluations} steps of plain Adam, {width} x {height} px"
    return [Report(title=title, rows=rows, notes=(PLAIN_ADAM.note, *NOTES))]
