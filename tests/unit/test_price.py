from __future__ import annotations

import pytest

from stylefleet.price import Cost, Price, cost_of, in_words, predicted_gpu_seconds
from stylefleet.tally import Sums
from tests.builders import make_plan
from tests.world import World

EURO = Price(per_gpu_hour=3.6, currency="EUR")
"""A thousandth of a euro a second."""


def test_the_estimate_is_the_plans_seconds_for_the_pictures_that_are_left_to_do() -> None:
    plan = make_plan(shards=(6, 4), skipped=90, seconds_per_picture=20.0)
    assert cost_of(plan, Sums(), EURO) == Cost(currency="EUR", estimated=pytest.approx(0.2), actual=0.0)


@pytest.mark.parametrize("parallelism", [1, 50])
def test_more_workers_at_a_time_cost_the_same(parallelism: int) -> None:
    plan = make_plan(shards=(10,), seconds_per_picture=20.0, parallelism=parallelism)
    assert predicted_gpu_seconds(plan) == 200.0


def test_a_worker_without_gpu_counts_as_one() -> None:
    assert predicted_gpu_seconds(make_plan(shards=(10,), seconds_per_picture=20.0, gpus=0)) == 200.0


def test_what_a_run_has_cost_is_the_time_that_is_paid_for() -> None:
    sums = Sums(worker_seconds=100.0, gpu_seconds=0.0, paid_seconds=500.0)
    cost = cost_of(make_plan(), sums, EURO)
    assert cost is not None
    assert cost.actual == pytest.approx(0.5)


def test_a_plan_that_says_no_seconds_has_no_estimate() -> None:
    cost = cost_of(make_plan(seconds_per_picture=0.0), Sums(), EURO)
    assert cost is not None
    assert cost.estimated is None


def test_without_a_price_no_cost_is_said() -> None:
    assert cost_of(make_plan(seconds_per_picture=1.0), Sums(paid_seconds=5.0), None) is None


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0.0, "EUR 0.00"),
        (1234.5, "EUR 1,234.50"),
        (0.05, "EUR 0.0500"),
        (0.00004, "less than EUR 0.0001"),
    ],
)
def test_amounts_are_told_with_as_many_digits_as_tell_something(amount: float, words: str) -> None:
    assert in_words(amount, "EUR") == words


def test_a_runs_status_and_report_say_what_it_was_to_cost_and_has_cost() -> None:
    world = World()
    world.controller = world.new_controller(price=EURO)
    world.submit()
    world.tick()
    running = world.status().cost
    assert running is not None
    assert running.estimated is not None
    assert running.estimated > 0
    assert running.actual == 0.0
    world.cluster.work()
    world.cluster.finish()
    world.tick(2)
    ended = world.status().cost
    assert ended is not None
    assert ended.actual == pytest.approx(0.015)
    report = world.report()
    assert report["cost"] == {"currency": "EUR", "estimated": pytest.approx(ended.estimated), "actual": 0.015}
    assert report["workerSeconds"] == 15.0


def test_without_a_price_neither_status_nor_report_has_a_cost() -> None:
    world = World()
    world.submit()
    world.work_to_the_end()
    assert world.status().cost is None
    assert world.report()["cost"] is None
