"""What the doctor says of a bucket, given what it did."""

from __future__ import annotations

from typing import Any

import pytest

from stylefleet import doctor_store
from stylefleet.checks import Check
from stylefleet.doctor_store import StoreFacts
from stylefleet.errors import (
    AccessDenied,
    CredentialsExpired,
    CredentialsRefused,
    NotFound,
    PermanentError,
    StoreUnavailable,
    StylefleetError,
)
from stylefleet.store_memory import MemoryStore

IDS = ["credentials", "bucket", "conditional-writes"]


def judge(**facts: Any) -> dict[str, Check]:
    seen = StoreFacts(bucket="shop", endpoint="http://minio:9000", **facts)
    checks = doctor_store.judge(seen, credentials_from="env", settings="STYLEFLEET_BUCKET")
    assert [c.id for c in checks] == IDS
    return {c.id: c for c in checks}


def test_a_good_bucket_is_good_in_every_respect() -> None:
    checks = judge(winners=(1, 1, 1))
    assert {c.outcome for c in checks.values()} == {"ok"}
    assert "env" in checks["credentials"].found


@pytest.mark.parametrize(
    ("error", "failed", "remedy"),
    [
        (NotFound("s3://shop: no such bucket"), "bucket", "Create the bucket shop"),
        (AccessDenied("s3://shop/jobs/: AccessDenied"), "bucket", "may not be listed: allow s3:ListBucket"),
        (PermanentError("301 PermanentRedirect"), "bucket", "AWS_REGION"),
        (StoreUnavailable("could not connect"), "bucket", "NetworkPolicy"),
        (CredentialsRefused("refused (InvalidAccessKeyId)"), "credentials", "Correct the key (from: env)"),
        (CredentialsRefused("no S3 credentials: none"), "credentials", "AWS_SECRET_ACCESS_KEY by a Secret"),
        (CredentialsRefused("refused (AuthorizationHeaderMalformed)"), "credentials", "Set AWS_REGION"),
        (CredentialsExpired("not now (ExpiredToken)"), "credentials", "Renew the temporary credentials (from: env)"),
        (CredentialsExpired("not now (RequestTimeTooSkewed)"), "credentials", "Set the clock"),
    ],
    ids=str,
)
def test_a_bucket_that_cannot_be_listed_is_told_by_its_cause(error: StylefleetError, failed: str, remedy: str) -> None:
    checks = judge(reading=error)
    assert [c.id for c in checks.values() if c.outcome == "failed"] == [failed]
    assert checks[failed].found == str(error)
    assert remedy in checks[failed].remedy
    assert checks["conditional-writes"].outcome == "skipped"


def test_a_bucket_that_may_only_be_read_is_told_so() -> None:
    checks = judge(writing=AccessDenied("AccessDenied"))
    assert checks["credentials"].outcome == "ok"
    assert "may not be written to" in checks["bucket"].remedy


@pytest.mark.parametrize(
    ("winners", "how"),
    [((8,), "ignore If-None-Match"), ((1, 1, 3), "in two steps"), ((0,), "also where no object is")],
)
def test_a_race_without_exactly_one_winner_condemns_the_store(winners: tuple[int, ...], how: str) -> None:
    check = judge(winners=winners)["conditional-writes"]
    assert check.outcome == "failed"
    assert how in check.found
    assert "AWS S3, MinIO, SeaweedFS 4.17 or newer" in check.remedy


def test_a_store_that_does_not_know_conditions_is_condemned_with_its_own_words() -> None:
    check = judge(racing=PermanentError("the store answered 501 NotImplemented"))["conditional-writes"]
    assert (check.outcome, check.found) == ("failed", "the store answered 501 NotImplemented")


def test_the_examination_leaves_nothing_behind() -> None:
    memory = MemoryStore("shop")
    facts = doctor_store.observe(memory, "shop", None)
    assert facts == StoreFacts(bucket="shop", endpoint="AWS S3", winners=(1, 1, 1))
    assert list(memory.list(doctor_store.Ref("shop", ""))) == []
