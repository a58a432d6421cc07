"""S3Store against a server that fails on demand: lost answers, storms of 503, cut bodies, refused credentials."""

from __future__ import annotations

import contextlib
import email.utils
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from stylefleet import store_s3
from stylefleet.errors import (
    AccessDenied,
    CredentialsExpired,
    CredentialsRefused,
    NotFound,
    PermanentError,
    PreconditionFailed,
    StoreUnavailable,
    StoreUnfit,
)
from stylefleet.naming import Ref
from stylefleet.store_s3 import S3Store, make_client
from tests.integration.fault_server import Answer, FaultServer, Request, Responder, fault, page

REF = Ref("shop", "a.jpg")
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE7", "wJalr-hush-hush"
BOTOCORE_ATTEMPTS = 6  # one, and five again


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between attempts
    server = FaultServer()
    yield server
    server.close()


@pytest.fixture
def store(server: FaultServer) -> Iterator[S3Store]:
    client = make_client(server.url, None)
    yield S3Store(client)
    client.close()


def in_order(*answers: Answer) -> Responder:
    """One answer after the other; the last one again and again."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


STORM = fault(503, "SlowDown")
STORED = Answer(headers={"ETag": '"e1"'})
FOUND = Answer(
    body=b"picture", headers={"ETag": '"e1"', "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT", "x-amz-meta-x": "1"}
)


# --- asked before sending ------------------------------------------------------------------------------------------


def test_a_refusal_before_sending_keeps_every_attempt_from_going_out(server: FaultServer) -> None:
    class Refused(BaseException):
        pass

    allowed = iter([True, True, False])

    def before_send() -> None:
        if not next(allowed):
            raise Refused

    server.respond = lambda _: STORM
    with pytest.raises(Refused):
        S3Store(make_client(server.url, None, before_send=before_send)).put(REF, b"")
    assert len(server.requests) == 2, "two attempts went out; the third was refused"


# --- storms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        STORM,
        fault(500, "InternalError"),
        fault(502, ""),
        Answer(status=504, body=b"<html>gateway</html>"),
        fault(429, "TooManyRequests"),
        fault(409, "ConditionalRequestConflict"),
        fault(400, "RequestTimeout"),
        Answer(dropped=True),
    ],
    ids=lambda a: f"{a.status}{'-dropped' if a.dropped else ''}-{a.body[:40]!r}",
)
def test_trouble_that_passes_is_survived_and_trouble_that_stays_is_said(
    server: FaultServer, store: S3Store, trouble: Answer
) -> None:
    server.respond = in_order(*[trouble] * 3, STORED)
    assert store.put(REF, b"x") == "e1"
    server.respond = in_order(trouble)
    with pytest.raises(StoreUnavailable, match=r"s3://shop/a\.jpg"):
        store.put(REF, b"x")


def test_a_storm_is_outlasted_beyond_what_botocore_does_itself(server: FaultServer, store: S3Store) -> None:
    server.respond = in_order(*[STORM] * (2 * BOTOCORE_ATTEMPTS + 1), FOUND)
    assert store.get(REF).data == b"picture"
    assert len(server.requests) == 2 * BOTOCORE_ATTEMPTS + 2


def test_attempts_end(server: FaultServer, store: S3Store) -> None:
    server.respond = in_order(STORM)
    with pytest.raises(StoreUnavailable, match="503 SlowDown"):
        store.get(REF)
    assert len(server.requests) == store_s3.ATTEMPTS * BOTOCORE_ATTEMPTS


def test_a_server_that_is_not_there_is_unavailable(server: FaultServer, store: S3Store) -> None:
    server.close()
    with pytest.raises(StoreUnavailable, match="did not answer"):
        store.get(REF)


def test_a_body_that_ends_early_is_read_again(server: FaultServer, store: S3Store) -> None:
    cut = Answer(body=FOUND.body, headers=FOUND.headers, cut=3)
    server.respond = in_order(cut, cut, FOUND)
    found = store.get(REF)
    assert (found.data, found.etag, dict(found.metadata)) == (b"picture", "e1", {"x": "1"})
    assert len(server.requests) == 3
    server.respond = in_order(cut)
    with pytest.raises(StoreUnavailable):
        store.get(REF)


# --- lost answers to conditional puts ------------------------------------------------------------------------------


class OneObject:
    """A bucket with one key that heeds conditions; the answer to the first `lost` writes never arrives."""

    def __init__(self, *, lost: int, there: str | None = None) -> None:
        self.lost = lost
        self.token = there
        """Token of the object; None where there is none."""
        self.writes = 0

    def __call__(self, request: Request) -> Answer:
        headers = {"ETag": f'"e{self.writes}"', "x-amz-meta-stylefleet-put": self.token or ""}
        if request.command == "HEAD":
            return Answer(headers=headers) if self.token else Answer(status=404)
        if request.headers["If-None-Match"] and self.token is not None:
            return fault(412, "PreconditionFailed")
        match = request.headers["If-Match"]
        if match and self.token is None:
            return fault(404, "NoSuchKey")
        if match and match != f'"e{self.writes}"':
            return fault(412, "PreconditionFailed")
        self.writes += 1
        self.token = request.headers["x-amz-meta-stylefleet-put"]
        if self.lost > 0:
            self.lost -= 1
            return Answer(dropped=True)
        return Answer(headers={"ETag": f'"e{self.writes}"'})


def test_a_put_if_absent_whose_answer_was_lost_is_recognized_as_our_own(server: FaultServer, store: S3Store) -> None:
    server.respond = there = OneObject(lost=1)
    assert store.put(REF, b"x", if_absent=True) == "e1"
    assert there.writes == 1


def test_a_put_if_match_whose_answer_was_lost_is_recognized_as_our_own(server: FaultServer, store: S3Store) -> None:
    server.respond = there = OneObject(lost=1, there="somebody's")
    assert store.put(REF, b"x", if_match="e0") == "e1"
    assert there.writes == 1


def test_an_object_of_somebody_else_is_not_taken_for_our_own(server: FaultServer, store: S3Store) -> None:
    server.respond = there = OneObject(lost=0, there="somebody's")
    with pytest.raises(PreconditionFailed):
        store.put(REF, b"x", if_absent=True)
    with pytest.raises(PreconditionFailed):
        store.put(REF, b"x", if_match="stale")
    assert there.writes == 0


def test_an_earlier_put_of_our_own_is_not_taken_for_this_one(server: FaultServer, store: S3Store) -> None:
    server.respond = OneObject(lost=0)
    store.put(REF, b"x", if_absent=True)
    with pytest.raises(PreconditionFailed):
        store.put(REF, b"x", if_absent=True)


def test_a_put_if_match_over_a_key_that_is_gone_fails_its_condition(server: FaultServer, store: S3Store) -> None:
    server.respond = OneObject(lost=0)
    with pytest.raises(PreconditionFailed):
        store.put(REF, b"x", if_match="e0")


def test_an_unconditional_put_leaves_no_token(server: FaultServer, store: S3Store) -> None:
    seen: list[str | None] = []

    def respond(request: Request) -> Answer:
        seen.append(request.headers["x-amz-meta-stylefleet-put"])
        return STORED

    server.respond = respond
    store.put(REF, b"x", metadata={"x": "1"})
    assert seen == [None]


@pytest.mark.parametrize("condition", [{}, {"if_absent": True}, {"if_match": "e1"}], ids=str)
def test_a_put_into_a_bucket_that_is_not_there_is_not_found(
    server: FaultServer, store: S3Store, condition: dict[str, object]
) -> None:
    server.respond = in_order(fault(404, "NoSuchBucket"))
    with pytest.raises(NotFound, match="s3://shop: no such bucket"):
        store.put(REF, b"x", **condition)  # type: ignore[arg-type]


# --- listings ------------------------------------------------------------------------------------------------------


def cut_xml(answer: Answer) -> Answer:
    """A body that is short and says so nowhere, as some proxies make it."""
    return Answer(body=answer.body[:-30], headers=answer.headers)


class Pages:
    """Two pages; the second fails a few times first."""

    def __init__(self, trouble: Answer, times: int) -> None:
        self.trouble, self.times = trouble, times

    def __call__(self, request: Request) -> Answer:
        if "continuation-token=next" not in request.path:
            return page(["a", "b"], more="next")
        if self.times > 0:
            self.times -= 1
            return self.trouble
        return page(["c"])


TROUBLES = [
    pytest.param(STORM, id="503"),
    pytest.param(Answer(dropped=True), id="dropped"),
    pytest.param(Answer(body=page(["c"]).body, cut=20), id="cut"),
    pytest.param(cut_xml(page(["c"])), id="short-xml"),
    pytest.param(Answer(body=b"<html><p>log in</p></html>", headers={"Content-Type": "text/html"}), id="proxy-page"),
]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_listing_whose_second_page_fails_for_a_while_is_complete(
    server: FaultServer, store: S3Store, trouble: Answer
) -> None:
    server.respond = Pages(trouble, times=3)
    assert [o.ref.key for o in store.list(Ref("shop", ""))] == ["a", "b", "c"]
    assert sum("continuation-token" not in r for r in server.requests) == 1


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_listing_whose_second_page_never_comes_is_an_error_and_not_short(
    server: FaultServer, store: S3Store, trouble: Answer
) -> None:
    server.respond = Pages(trouble, times=1000)
    listing = store.list(Ref("shop", ""))
    assert [next(listing).ref.key, next(listing).ref.key] == ["a", "b"]
    with pytest.raises(StoreUnavailable):
        next(listing)


def test_the_next_page_is_asked_for_while_the_caller_is_at_work_on_this_one(
    server: FaultServer, store: S3Store
) -> None:
    asked_for = threading.Event()

    def respond(request: Request) -> Answer:
        if "continuation-token=next" in request.path:
            asked_for.set()
        return page(["a", "b"], more="next") if not asked_for.is_set() else page(["c"])

    server.respond = respond
    listing = store.list(Ref("shop", ""))
    assert next(listing).ref.key == "a"
    assert asked_for.wait(30)
    assert [o.ref.key for o in listing] == ["b", "c"]


def test_a_listing_that_is_left_early_ends_at_once(server: FaultServer, store: S3Store) -> None:
    server.respond = lambda _: page(["a", "b"], more="next")  # without end
    listing = store.list(Ref("shop", ""))
    next(listing)
    listing.close()  # type: ignore[attr-defined]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00.789Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01T13:00:00.789+01:00",
        "20260301T120000Z",
        "Sun, 01 Mar 2026 12:00:00 GMT",
    ],
)
def test_a_listings_times_are_read_in_every_form_and_cut_to_whole_seconds(
    server: FaultServer, store: S3Store, text: str
) -> None:
    server.respond = in_order(page(["a"], modified_at=text))
    (listed,) = store.list(Ref("shop", ""))
    assert listed.modified_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert listed.etag == "e"


# --- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        fault(403, "AccessDenied"),
        fault(403, "InvalidAccessKeyId", f"The key {ACCESS_KEY} does not exist"),
        fault(403, "SignatureDoesNotMatch", f"signed with {SECRET_KEY}"),
        fault(403, "AllAccessDisabled"),
        fault(401, "Unauthorized"),
    ],
    ids=lambda a: a.body[13:40].decode(),
)
def test_refused_credentials_are_said_at_once_and_never_shown(
    server: FaultServer, store: S3Store, answer: Answer
) -> None:
    server.respond = in_order(answer)
    with pytest.raises(AccessDenied) as caught:
        store.get(REF)
    assert "s3://shop/a.jpg" in str(caught.value)
    assert SECRET_KEY not in str(caught.value)
    assert ACCESS_KEY not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestTimeTooSkewed"])
def test_credentials_that_may_be_renewed_are_tried_again(server: FaultServer, store: S3Store, code: str) -> None:
    server.respond = in_order(fault(403, code), fault(403, code), fault(403, code), fault(403, code))
    with pytest.raises(StoreUnavailable, match=code):
        store.get(REF)
    assert len(server.requests) > 1


def at(now: datetime, answer: Answer) -> Responder:
    """The answer, given at that time by the server's clock."""

    def respond(request: Request) -> Answer:
        request.date_time_string = lambda *_: email.utils.format_datetime(now, usegmt=True)  # type: ignore[method-assign]
        return answer

    return respond


@pytest.mark.parametrize(
    ("ahead", "told"),
    [(timedelta(hours=1), "60 minutes behind"), (-timedelta(hours=1), "60 minutes ahead of")],
    ids=["behind", "ahead"],
)
def test_a_refusal_for_a_wrong_clock_says_how_wrong_and_what_to_do(
    server: FaultServer, store: S3Store, ahead: timedelta, told: str
) -> None:
    server.respond = at(datetime.now(UTC) + ahead, fault(403, "RequestTimeTooSkewed"))
    with pytest.raises(StoreUnavailable, match=rf"clock is {told} the store's\. Set the clock of this machine"):
        store.get(REF)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), -timedelta(hours=1)], ids=str)
def test_the_stores_time_is_told_by_its_newest_answer_whatever_that_is(
    server: FaultServer, store: S3Store, ahead: timedelta
) -> None:
    for answer in (FOUND, fault(404, "NoSuchKey"), fault(412, "PreconditionFailed")):
        ahead += timedelta(days=1)
        now = datetime.now(UTC) + ahead
        server.respond = at(now, answer)
        with contextlib.suppress(NotFound, PreconditionFailed):
            store.get(REF)
        assert timedelta(seconds=-1) <= store.now() - now < timedelta(hours=1)


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_store_that_does_not_tell_its_time_is_unfit(server: FaultServer, store: S3Store, date: str) -> None:
    def respond(request: Request) -> Answer:
        request.date_time_string = lambda *_: date  # type: ignore[method-assign]
        return FOUND

    server.respond = respond
    store.get(REF)
    with pytest.raises(StoreUnfit, match="must have a Date"):
        store.now()


@pytest.mark.parametrize(
    "trouble", [STORM, Answer(dropped=True), fault(400, "InvalidArgument"), fault(404, "NoSuchKey")]
)
def test_no_error_shows_a_credential(server: FaultServer, store: S3Store, trouble: Answer) -> None:
    server.respond = in_order(trouble)
    with pytest.raises((PermanentError, StoreUnavailable)) as caught:
        store.get(REF)
    assert SECRET_KEY not in str(caught.value)
    assert ACCESS_KEY not in str(caught.value)


def test_a_fault_of_ours_is_permanent_and_not_retried(server: FaultServer, store: S3Store) -> None:
    server.respond = in_order(fault(400, "InvalidArgument"))
    with pytest.raises(PermanentError, match="400 InvalidArgument"):
        store.get(REF)
    assert len(server.requests) == 1


def test_without_credentials_it_says_which_variable_to_set(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    client = make_client(server.url, None)
    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
        S3Store(client).get(REF)
    client.close()
    assert server.requests == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("InvalidAccessKeyId", CredentialsRefused),
        ("SignatureDoesNotMatch", CredentialsRefused),
        ("ExpiredToken", CredentialsExpired),
        ("AccessDenied", AccessDenied),
    ],
)
def test_an_identity_that_is_unknown_is_told_from_one_that_lacks_a_right(
    server: FaultServer, store: S3Store, code: str, error: type[Exception]
) -> None:
    server.respond = in_order(fault(403, code))
    with pytest.raises(error) as caught:
        store.get(REF)
    assert type(caught.value) is error


def test_a_request_that_the_store_does_not_know_is_permanent(server: FaultServer, store: S3Store) -> None:
    server.respond = in_order(fault(501, "NotImplemented", "A header you provided implies functionality"))
    with pytest.raises(PermanentError, match="501 NotImplemented"):
        store.put(REF, b"x", if_absent=True)


def test_a_store_that_is_asked_only_once_answers_or_not(server: FaultServer) -> None:
    client = make_client(server.url, None, retries=0)
    server.respond = in_order(STORM)
    with pytest.raises(StoreUnavailable):
        S3Store(client, attempts=1).get(REF)
    client.close()
    assert len(server.requests) == 1
