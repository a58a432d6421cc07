"""Recording rules: totals that know no change of leader, and the shares that the error budget's alerts compare.

What the leader counts it takes on from the one before it, and only the leader has these series. So the largest value of
all replicas is the service's own, without a jump where another one leads, and increase() over it is exact.
"""

from __future__ import annotations

from typing import Any

OURS = 'namespace="__NAMESPACE__"'
INPUT_REASONS = (
    "empty|mask_shape|too_many_bytes|too_many_pixels|too_small|truncated|undecodable|unsupported_format|unsupported_mode"
    "|.+_invalid|.+_missing|.+_changed"
)
"""Reasons in receipts that are the picture's fault, or of whoever deletes or replaces it meanwhile. All others are
ours: a reason that is new is noticed sooner than it is excused."""
OBJECTIVE = 0.99
"""Of the pictures that can be done, the share that must be."""
WINDOWS = ("5m", "30m", "1h", "6h", "3d")
Json = dict[str, Any]


def pictures(result: str) -> str:
    """The recorded total; result is done, refused or broken, or several with |."""
    return f'namespace_result:stylefleet_pictures_total:sum{{{OURS}, result=~"{result}"}}'


def broken(window: str) -> str:
    """The recorded share of pictures that we broke, in this time."""
    return f"namespace:stylefleet_pictures_broken:ratio_rate{window}{{{OURS}}}"


def groups() -> list[Json]:
    return [
        {"name": "stylefleet-totals", "rules": _totals()},
        {"name": "stylefleet-error-budget", "rules": [_share(window) for window in WINDOWS]},
    ]


def _totals() -> list[Json]:
    refused = f'outcome="failed", reason=~"{INPUT_REASONS}"'
    done = _sum('outcome="done"')
    by_result = {
        "done": done,
        # Where nothing failed there is no series: 0, so that the first failure is seen as one.
        "refused": f"{_sum(refused)} or 0 * {done}",
        "broken": f"{_sum(refused.replace('=~', '!~'))} or 0 * {done}",
    }
    return [
        *(
            {
                "record": "namespace_result:stylefleet_pictures_total:sum",
                "expr": expression,
                "labels": {"result": result},
            }
            for result, expression in by_result.items()
        ),
        _max("stylefleet_style_cache_lookups_total", by="namespace_result"),
        _max("stylefleet_cost_total", by="namespace"),
    ]


def _sum(matchers: str) -> str:
    return f"sum by (namespace) (max by (namespace, outcome, reason) (stylefleet_pictures_total{{{OURS}, {matchers}}}))"


def _max(metric: str, *, by: str) -> Json:
    return {"record": f"{by}:{metric}:max", "expr": f"max by ({by.replace('_', ', ')}) ({metric}{{{OURS}}})"}


def _share(window: str) -> Json:
    """0 / 0 where nothing was done is no number, which no alert compares."""
    return {
        "record": f"namespace:stylefleet_pictures_broken:ratio_rate{window}",
        "expr": f"sum by (namespace) (rate({pictures('broken')}[{window}])) "
        f"/ sum by (namespace) (rate({pictures('done|broken')}[{window}]))",
    }
