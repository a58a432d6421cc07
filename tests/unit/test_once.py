from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stylefleet.errors import NotFound
from stylefleet.once import Once


def test_a_question_is_asked_once_and_another_one_by_itself() -> None:
    once, asked = Once(), []

    def ask(question: str) -> str:
        asked.append(question)
        return question.upper()

    assert [once(q, lambda q=q: ask(q)) for q in ("a", "b", "a")] == ["A", "B", "A"]
    assert asked == ["a", "b"]


def test_who_asks_while_an_answer_is_on_its_way_waits_for_it() -> None:
    once, asked, answer = Once(), [], threading.Event()

    def ask() -> int:
        asked.append(1)
        answer.wait()
        return len(asked)

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(once, "a", ask) for _ in range(8)]
        answer.set()
        assert [w.result() for w in waiting] == [1] * 8


def test_a_failure_is_told_and_not_remembered() -> None:
    once = Once()

    def fail() -> int:
        raise NotFound("gone")

    with pytest.raises(NotFound):
        once("a", fail)
    assert once("a", lambda: 7) == 7
