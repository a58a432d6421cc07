"""PromQL from its parts. Every selector keeps to the namespaces, jobs and instances chosen above the panels."""

from __future__ import annotations

SCOPE = 'namespace=~"$namespace", job=~"$job", instance=~"$instance"'


def select(metric: str, *matchers: str) -> str:
    """`metric{...}`."""
    return f"{metric}{{{', '.join((SCOPE, *matchers))}}}"


def rate(metric: str, *matchers: str, by: str = "") -> str:
    """Events a second, summed: a counter of the leader that is gone and that of its successor are one."""
    return f"sum{_by(by)} (rate({select(metric, *matchers)}[$__rate_interval]))"


def hourly(metric: str, *matchers: str, by: str = "") -> str:
    """Events an hour, at the rate of this moment: for what happens seldom."""
    return f"3600 * {rate(metric, *matchers, by=by)}"


def growth(metric: str, *matchers: str, by: str = "") -> str:
    """Events in the time that the dashboard shows, summed."""
    return f"sum{_by(by)} (increase({select(metric, *matchers)}[$__range]))"


def latest(metric: str, *matchers: str, by: str = "") -> str:
    """What the leader says. Those that stand by say 0."""
    return f"max{_by(by)} ({select(metric, *matchers)})"


def total(metric: str, *matchers: str, by: str = "") -> str:
    """Summed over workers."""
    return f"sum{_by(by)} ({select(metric, *matchers)})"


def age(timestamp_metric: str) -> str:
    """Seconds since then; 0 where it has not been."""
    return or_zero(f"time() - ({latest(timestamp_metric)} > 0)")


def or_zero(query: str) -> str:
    """For queries without labels: 0 where nothing has happened yet, in place of `No data`."""
    return f"({query}) or vector(0)"


def ratio(part: str, whole: str) -> str:
    """0 where the whole is 0, in place of NaN; both with the same labels."""
    return f"{part} / ({whole} > 0) or 0 * {whole}"


def mean(histogram: str, *matchers: str, by: str = "") -> str:
    """Of what was observed lately."""
    return ratio(rate(f"{histogram}_sum", *matchers, by=by), rate(f"{histogram}_count", *matchers, by=by))


def quantile(share: float, histogram: str, *matchers: str, by: str = "") -> str:
    """Of what was observed lately; 0 where nothing was."""
    buckets = rate(f"{histogram}_bucket", *matchers, by=f"{by}, le" if by else "le")
    value = f"histogram_quantile({share}, {buckets})"
    return f"{value} >= 0 or 0 * {rate(f'{histogram}_count', *matchers, by=by)}"


def heat(histogram: str, *matchers: str) -> str:
    """How many fell into each bucket, from point to point."""
    return f"sum by (le) (increase({select(f'{histogram}_bucket', *matchers)}[$__rate_interval]))"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
