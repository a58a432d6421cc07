"""Every query and every rule, asked of a real Prometheus that has scraped a service that is always busy."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client import start_http_server

from stylefleet.receipt import STAGES
from tests.chart.conftest import Json
from tests.monitoring.asked import Asked, all_queries, all_variables
from tests.monitoring.double import Double
from tests.monitoring.prometheus import Prometheus, prometheus, static

SCRAPES = 8


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, rules: Json) -> Iterator[Prometheus]:
    double = Double()
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.5):
            double.advance()

    worker = threading.Thread(target=work)
    worker.start()
    servers = [start_http_server(0, addr="127.0.0.1", registry=r) for r in (double.controller, double.worker)]
    addresses = [f"127.0.0.1:{server.server_port}" for server, _ in servers]
    jobs = {"art/controller": addresses[:1], "art/workers": addresses[1:]}
    try:
        with prometheus(
            tmp_path_factory.mktemp("prometheus"), scrape_configs=static(jobs, namespace="art"), rules=rules
        ) as server:
            # Of what is recorded there are rates once it was recorded twice.
            while not server.query("min(count_over_time(namespace_result:stylefleet_pictures_total:sum[5m])) > 1"):
                time.sleep(0.2)
            while not server.query(f"min(count_over_time(stylefleet_pictures_total[5m])) >= {SCRAPES}"):
                time.sleep(0.2)
            yield server
    finally:
        stop.set()
        worker.join()
        for httpd, thread in servers:
            httpd.shutdown()
            httpd.server_close()
            thread.join()


@pytest.mark.parametrize("asked", all_queries(), ids=lambda asked: asked.place)
def test_every_query_of_every_panel_is_answered_with_numbers(busy: Prometheus, asked: Asked) -> None:
    found = busy.query(asked.query)
    assert found, asked.query
    assert not any(math.isnan(float(sample["value"][1])) for sample in found), asked.query


NUMBERS = [asked for asked in all_queries(namespace="nobody") if asked.kind == "stat"]


@pytest.mark.parametrize("asked", NUMBERS, ids=lambda asked: asked.place)
def test_every_single_number_is_0_where_nothing_has_been_seen(busy: Prometheus, asked: Asked) -> None:
    """An empty panel would leave open whether nothing happens or nothing is seen."""
    assert busy.number(asked.query) == 0


def test_every_rule_is_evaluated_without_error_and_records_something(busy: Prometheus, rules: Json) -> None:
    there = busy.rules()
    assert len(there) == sum(len(group["rules"]) for group in rules["groups"])
    assert [(rule["name"], rule.get("lastError")) for rule in there if rule["health"] != "ok"] == []
    for rule in there:
        if rule["type"] == "recording":
            assert busy.query(rule["name"]), rule["name"]


def test_every_variable_above_the_panels_finds_its_values(busy: Prometheus) -> None:
    found = {}
    for name, query in all_variables().items():
        ((selector, label),) = re.findall(r"label_values\((.+), (\w+)\)", query)
        found[name] = {series[label] for series in busy.ask("series", **{"match[]": selector})}
    assert len(found.pop("instance")) == 2
    assert found == {"namespace": {"art"}, "job": {"art/controller", "art/workers"}, "stage": set(STAGES)}
