"""Recording rules: totals that know no change of leader, and the shares that the error budget's alerts compare.

What the leader counts it takes on from the one before it, and only the leader has these series. So the largest value of
all replicas is the service's own, without a jump where another one leads, and increase() over it is exact.
"""

from __future__ import annotations

from typing import Any

from stylefleet.reasons import REFUSED

OURS = 'namespace="__NAMESPACE__"'
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
    reasons = "|".join(REFUSED)
    by_result = {
        "done": _sum('outcome="done"'),
        "refused": _sum(f'outcome="failed", reason=~"{reasons}"'),
        # A reason that is new is ours until it is in the list.
        "broken": _sum(f'outcome="failed", reason!~"{reasons}"'),
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
