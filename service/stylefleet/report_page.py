"""A run that ended as one HTML page: figures, charts, failures, thumbnails. Pure; needs no other file and no script.

Its length does not grow with the catalog: everything that it lists is bounded where it is gathered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from stylefleet import pages, price
from stylefleet.receipt import STAGES, Receipt
from stylefleet.run_digest import RunDigest
from stylefleet.thumbnails import Pairs

REASONS_SHOWN = 12
ENGINES_SHOWN = 6
_STAGE_WORDS = {
    "fetch": ("Fetch", "read from the bucket"),
    "decode": ("Decode", "file to pixels"),
    "style_target": ("Style", "statistics of the styles"),
    "optimize": ("Optimize", "the network at work"),
    "encode": ("Encode", "pixels to file"),
    "store": ("Store", "write to the bucket"),
}
_PHASE_WORDS = {
    "Succeeded": ("Succeeded", "good"),
    "PartiallySucceeded": ("Partially succeeded", "fair"),
    "Failed": ("Failed", "bad"),
    "Cancelled": ("Cancelled", "off"),
}


class Bar(NamedTuple):
    """One bin of the chart, in a drawing of 100 units of height; y grows downwards."""

    x: float
    width: float
    done_y: float
    done_height: float
    failed_y: float
    failed_height: float
    title: str
    """What is said when a pointer rests on it."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Throughput over time."""

    bars: tuple[Bar, ...]
    width: float
    unit: str
    """What the axis counts, such as `pictures a minute`."""
    ticks: tuple[tuple[float, str], ...]
    """Height from the top in percent, and what it says."""
    times: tuple[str, ...]
    """Along the time axis, evenly spaced, the first at the beginning and the last at the end."""


class Share(NamedTuple):
    """One part of a whole."""

    name: str
    note: str
    value: str
    percent: float
    """Of the whole, 0 to 100."""
    colour: str
    """A class of the style sheet."""


def render(document: dict[str, Any], digest: RunDigest, thumbnails: Pairs, *, ended: int) -> str:
    """The page of the report `document`; `ended` pictures have a receipt, of which the digest may have a sample."""
    totals, failures = document["totals"], document["failures"]
    planned, finished = time_of(document["plannedAt"]), time_of(document["finishedAt"])
    slowest = digest.slowest
    shown = [p.receipt.content for p in thumbnails.pairs] + [s.receipt.content for s in slowest]
    folder = common_folder(shown + [f["content"] for f in failures["first"]])
    sample = digest.counted if digest.counted < ended else 0
    return pages.render(
        "report.html.j2",
        style=pages.text(pages.LOOK) + pages.text("report.css"),
        images="data:",
        report=document,
        phase=_PHASE_WORDS.get(document["phase"], (document["phase"], "off")),
        planned=_moment(planned),
        finished=_moment(finished),
        headline=_headline(document, digest),
        chart=chart_of(digest, ended=ended),
        sample=f"{sample:,} of {ended:,}" if sample else "",
        stages=_stages(document["stageSeconds"], ended),
        outcomes=_outcomes(totals, document["unfinishedShards"]["pictures"]),
        reasons=_reasons(document["failuresByReason"]),
        failed=[dict(one, content=_below(folder, one["content"])) for one in failures["first"]],
        failed_more=max(0, totals["failed"] - len(failures["first"])),
        slowest=_slow_rows(digest, folder),
        pairs=[(_below(folder, p.receipt.content), _about(p.receipt), p) for p in thumbnails.pairs],
        engines=document["engines"][:ENGINES_SHOWN],
        engines_more=max(0, len(document["engines"]) - ENGINES_SHOWN),
        thumbnails_refused=thumbnails.refused,
        folder=folder,
        cost=_cost(document),
        left_out=price.LEFT_OUT,
        hours=(_hours(document["workerSeconds"]), _hours(document["gpuSeconds"])),
    )


def time_of(text: str) -> datetime:
    """A time of a report."""
    return datetime.fromisoformat(text).astimezone(UTC)


# --- parts --------------------------------------------------------------------------------------------------------


def _headline(document: dict[str, Any], digest: RunDigest) -> list[tuple[str, str, str]]:
    """Label, figure, and what is said below it."""
    totals, seconds = document["totals"], digest.span_seconds
    tried = totals["pictures"] - totals["skipped"]
    tiles = [
        ("Restyled", f"{totals['done']:,}", f"of {tried:,}" + (_skipped(totals["skipped"]))),
        ("Failed", f"{totals['failed']:,}", f"{_percent(totals['failed'], tried)} of them"),
        ("Time", duration(seconds), "from plan to end"),
    ]
    if totals["done"]:
        rate, unit = _rate(totals["done"] / seconds)
        tiles.append(("Pace", f"{rate:,.3g}", f"pictures a {unit}"))
    cost = document["cost"]
    if cost is not None:
        estimated = cost["estimated"]
        said = "no estimate" if estimated is None else f"estimated {price.in_words(estimated, cost['currency'])}"
        tiles.append(("Cost", price.in_words(cost["actual"], cost["currency"]), said))
    return tiles


def _skipped(skipped: int) -> str:
    return f", {skipped:,} were there" if skipped else ""


def chart_of(digest: RunDigest, *, ended: int) -> Chart | None:
    """Throughput over time; None where nothing ended. A sample is scaled up to all."""
    if not digest.counted:
        return None
    scale = max(1.0, ended / digest.counted)
    rates = [(b.done * scale / digest.bin_seconds, b.failed * scale / digest.bin_seconds) for b in digest.bins]
    peak = max(done + failed for done, failed in rates)
    factor, unit = _unit_for(peak)
    top = nice_ceiling(peak * factor)
    bars = []
    for number, (done, failed) in enumerate(rates):
        done_height, failed_height = (100 * rate * factor / top for rate in (done, failed))
        start = number * digest.bin_seconds
        # The last span ends with the run.
        end = min(start + digest.bin_seconds, digest.span_seconds)
        said = f"{(done + failed) * factor:,.3g} pictures a {unit}" + (
            f", {failed * factor:,.3g} failed" if failed else ""
        )
        bars.append(
            Bar(
                x=start / digest.bin_seconds,
                width=0.86 * (end - start) / digest.bin_seconds,
                done_y=100 - done_height,
                done_height=done_height,
                failed_y=100 - done_height - failed_height,
                failed_height=failed_height,
                title=f"{duration(start)} to {duration(end)}: {said}",
            )
        )
    return Chart(
        bars=tuple(bars),
        width=digest.span_seconds / digest.bin_seconds,
        unit=f"pictures a {unit}",
        ticks=((0.0, f"{top:,.3g}"), (50.0, f"{top / 2:,.3g}"), (100.0, "0")),
        times=tuple(duration(digest.span_seconds * part / 4) for part in range(5)),
    )


def _stages(seconds_by_stage: dict[str, float], ended: int) -> list[Share]:
    total = sum(seconds_by_stage.values())
    shares = []
    for stage in STAGES:
        seconds = seconds_by_stage[stage]
        name, note = _STAGE_WORDS[stage]
        each = f", {duration(seconds / ended)} each" if ended else ""
        shares.append(Share(name, note + each, duration(seconds), _of(seconds, total), f"stage-{stage}"))
    return shares if total else []


def _outcomes(totals: dict[str, int], unfinished: int) -> list[Share]:
    parts = [
        ("Restyled", "a result of this run", totals["done"], "good"),
        ("Already there", "the result of an earlier run, unchanged", totals["skipped"], "calm"),
        ("Failed", "with a reason of their own", totals["failed"] - unfinished, "bad"),
        ("Not done", "the run ended before them", unfinished, "off"),
    ]
    return [
        Share(name, note, f"{count:,}", _of(count, totals["pictures"]), colour)
        for name, note, count, colour in parts
        if count
    ]


def _reasons(count_by_reason: dict[str, int]) -> list[Share]:
    ordered = sorted(count_by_reason.items(), key=lambda each: (-each[1], each[0]))
    shown, rest = ordered[:REASONS_SHOWN], ordered[REASONS_SHOWN:]
    if rest:
        shown.append((f"{len(rest)} other reasons", sum(count for _, count in rest)))
    most = max((count for _, count in shown), default=0)
    return [Share(reason, "", f"{count:,}", _of(count, most), "bad") for reason, count in shown]


def _slow_rows(digest: RunDigest, folder: str) -> list[tuple[Share, str]]:
    slowest = digest.slowest
    most = slowest[0].seconds if slowest else 0.0
    return [
        (
            Share(_below(folder, s.receipt.content), "", duration(s.seconds), _of(s.seconds, most), "calm"),
            _about(s.receipt),
        )
        for s in slowest
    ]


def _about(receipt: Receipt) -> str:
    company = f", in a batch of {receipt.batch}" if receipt.batch > 1 else ""
    return f"{receipt.width_px} × {receipt.height_px} px, {receipt.iterations} steps{company}"


def _cost(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and value; empty without a price."""
    cost, done = document["cost"], document["totals"]["done"]
    if cost is None:
        return []
    currency, estimated = cost["currency"], cost["estimated"]
    rows = [("Cost of this run", price.in_words(cost["actual"], currency))]
    if estimated is not None:
        rows.append(("Estimated by its plan", price.in_words(estimated, currency)))
    if done:
        rows.append(("For 1,000 pictures", price.in_words(1000 * cost["actual"] / done, currency)))
    return rows


# --- words and numbers --------------------------------------------------------------------------------------------


def common_folder(uris: list[str]) -> str:
    """The folder in which all of them are, with its slash; empty where there is none below the bucket's name."""
    if not uris:
        return ""
    first, last = min(uris), max(uris)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    folder = first[:same].rpartition("/")[0] + "/"
    return folder if folder.count("/") >= 3 else ""


def _below(folder: str, uri: str) -> str:
    return uri.removeprefix(folder) or uri


def duration(seconds: float) -> str:
    """`0.4 s`, `45 s`, `12 min`, `3.5 h`, `4.2 d`."""
    if not seconds < 90:
        for limit, size, name in ((5400, 60, "min"), (172_800, 3600, "h"), (math.inf, 86400, "d")):
            if seconds < limit:
                return f"{seconds / size:.2g} {name}" if seconds / size < 10 else f"{seconds / size:,.0f} {name}"
    return f"{seconds:.2g} s" if 0 < seconds < 10 else f"{seconds:.0f} s"


def _rate(per_second: float) -> tuple[float, str]:
    factor, unit = _unit_for(per_second)
    return per_second * factor, unit


def _unit_for(per_second: float) -> tuple[int, str]:
    """The unit of time in which a rate is a number that people can hold: 1 or more where possible."""
    return next(
        ((factor, unit) for factor, unit in ((1, "second"), (60, "minute")) if per_second * factor >= 1), (3600, "hour")
    )


def nice_ceiling(value: float) -> float:
    """The least of 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8 and their tens and tenths that is not below `value`."""
    if not 0 < value < math.inf:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(
        (step * size for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if step * size >= value * (1 - 1e-9)), 10 * size
    )


def _of(part: float, whole: float) -> float:
    """In percent; 0 where there is no such share."""
    share = 100 * part / whole if whole else 0.0
    return round(share, 3) if 0 <= share <= 100 else 0.0


def _percent(part: int, whole: int) -> str:
    share = _of(part, whole)
    return "none" if not part else f"{share:.2g} %" if share < 10 else f"{share:.0f} %"


def _moment(time: datetime) -> str:
    return f"{time.day} {time:%b %Y, %H:%M} UTC"


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.2f}" if hours >= 0.01 or not hours else "less than 0.01"
