"""Controller: whether it looks at the bucket, who leads, and what S3 and the API server answer."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from helm.dashboards.panels import Band, bars, board, heat_map, lines, number, stacked
from helm.dashboards.queries import age, hourly, latest, or_zero, quantile, rate, ratio, select

S3 = "stylefleet_s3_requests_total"
API = "stylefleet_kubernetes_requests_total"
S3_ERRORS = 'result=~"throttled|denied|unavailable"'
API_ERRORS = 'result=~"throttled|denied|unavailable|invalid"'


def dashboard() -> Dashboard:
    return board(
        title="Controller",
        uid="stylefleet-controller",
        description="Whether the inbox is looked at, who leads, and what S3 and the API server answer.",
        bands=[
            Band(
                title="Now",
                height=5,
                panels=[
                    number(
                        "Leaders",
                        "Controllers that act. One, but for seconds while another takes over.",
                        or_zero(f"sum({select('stylefleet_leader')})"),
                    ),
                    number(
                        "Since the last success",
                        "Since a controller last looked at the whole inbox without error; an alert fires at ten "
                        "minutes.",
                        age("stylefleet_reconcile_last_success_timestamp_seconds"),
                        unit="s",
                        bad_from=600,
                    ),
                    number(
                        "Failed looks per minute",
                        "Looks at the inbox or at one manifest that ended in an error. The log names the manifest.",
                        or_zero(f"60 * {rate('stylefleet_reconcile_failures_total')}"),
                        bad_from=1,
                    ),
                    number(
                        "S3 errors",
                        "Share of attempts at S3, the workers' among them, that failed. They are repeated.",
                        or_zero(ratio(rate(S3, S3_ERRORS), rate(S3))),
                        unit="percentunit",
                        bad_from=0.05,
                    ),
                    number(
                        "API errors",
                        "Share of attempts at the API server that failed.",
                        or_zero(ratio(rate(API, API_ERRORS), rate(API))),
                        unit="percentunit",
                        bad_from=0.01,
                    ),
                    number(
                        "Manifests to plan",
                        "Manifests that were seen and are not planned yet.",
                        or_zero(latest("stylefleet_queued_manifests")),
                    ),
                ],
            ),
            Band(
                title="Looks at the inbox",
                height=9,
                panels=[
                    lines(
                        "Time of a look",
                        "Time of one look at the whole inbox.",
                        "s",
                        (quantile(0.5, "stylefleet_reconcile_duration_seconds"), "half are below"),
                        (quantile(0.95, "stylefleet_reconcile_duration_seconds"), "95 % are below"),
                    ),
                    bars(
                        "Failed looks",
                        "Each hour: scope tick is the whole look, scope manifest one manifest of it.",
                        "none",
                        (hourly("stylefleet_reconcile_failures_total", by="scope"), "{{scope}}"),
                    ),
                    lines(
                        "Leaders, over time",
                        "1 where a controller acts, 0 where it stands by for another.",
                        "none",
                        (latest("stylefleet_leader", by="instance"), "{{instance}}"),
                    ),
                ],
            ),
            Band(
                panels=[
                    heat_map(
                        "Looks by time",
                        "How many looks at the inbox took how long.",
                        "s",
                        "stylefleet_reconcile_duration_seconds",
                    ),
                    lines(
                        "Since the last success, over time",
                        "Since a controller last looked at the whole inbox without error.",
                        "s",
                        (age("stylefleet_reconcile_last_success_timestamp_seconds"), "since the last success"),
                    ),
                    lines(
                        "Versions",
                        "Controllers by version: two during an upgrade.",
                        "none",
                        (f"count by (version) ({select('stylefleet_build_info')})", "{{version}}"),
                    ),
                ]
            ),
            Band(
                title="S3",
                height=9,
                panels=[
                    stacked(
                        "S3 requests per second",
                        "By operation; the controller's and the workers'.",
                        "reqps",
                        (rate(S3, by="operation"), "{{operation}}"),
                    ),
                    stacked(
                        "S3 answers per second",
                        "By result; not_found and precondition_failed are answers that we count on.",
                        "reqps",
                        (rate(S3, by="result"), "{{result}}"),
                    ),
                    lines(
                        "Time of an S3 request",
                        "Time that 95 % of the requests do not exceed, their repetitions included, by operation.",
                        "s",
                        (quantile(0.95, "stylefleet_s3_request_duration_seconds", by="operation"), "{{operation}}"),
                    ),
                ],
            ),
            Band(
                title="Kubernetes",
                height=9,
                panels=[
                    stacked(
                        "API requests per second",
                        "By verb; none with the local cluster.",
                        "reqps",
                        (rate(API, by="verb"), "{{verb}}"),
                    ),
                    stacked(
                        "API answers per second",
                        "By result; conflict and not_found are answers that we count on.",
                        "reqps",
                        (rate(API, by="result"), "{{result}}"),
                    ),
                    lines(
                        "Time of an API request",
                        "Time that 95 % of the requests do not exceed, by verb.",
                        "s",
                        (quantile(0.95, "stylefleet_kubernetes_request_duration_seconds", by="verb"), "{{verb}}"),
                    ),
                ],
            ),
        ],
    )
