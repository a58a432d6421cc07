"""The doctor's questions to a bucket: `observe` asks, `judge` answers. The judgement is pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from stylefleet import naming, store
from stylefleet.checks import Check, failed, ok, skipped
from stylefleet.errors import (
    AccessDenied,
    CredentialsExpired,
    CredentialsRefused,
    NotFound,
    StoreUnavailable,
    StylefleetError,
)
from stylefleet.naming import Ref
from stylefleet.store import Store

ACTIONS = "s3:ListBucket on the bucket, s3:GetObject, s3:PutObject and s3:DeleteObject on its objects"


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """What a bucket did."""

    bucket: str
    endpoint: str
    """Its server, in words."""
    reading: StylefleetError | None = None
    """Why it cannot be listed."""
    writing: StylefleetError | None = None
    """Why an object cannot be written, read and removed."""
    racing: StylefleetError | None = None
    """Why conditional puts could not be tried."""
    winners: tuple[int, ...] = ()
    """How many of simultaneous conditional puts succeeded, in each round; empty where none were tried."""


def observe(
    bucket_store: Store, bucket: str, endpoint_url: str | None, *, rounds: int = store.PROBE_ROUNDS
) -> StoreFacts:
    """List, write, read and remove in the service's own folders, and let conditional puts race. Leaves nothing."""
    endpoint = endpoint_url or "AWS S3"
    try:
        next(iter(bucket_store.list(Ref(bucket, naming.INBOX_PREFIX))), None)
    except StylefleetError as error:
        return StoreFacts(bucket=bucket, endpoint=endpoint, reading=error)
    ref = Ref(bucket, f"{naming.CACHE_PREFIX}doctor-{uuid.uuid4().hex}")
    try:
        bucket_store.put(ref, b"the doctor was here")
        bucket_store.get(ref)
        bucket_store.delete(ref)
    except StylefleetError as error:
        return StoreFacts(bucket=bucket, endpoint=endpoint, writing=error)
    winners: list[int] = []
    try:
        for _ in range(rounds):
            winners.append(store.race(bucket_store, Ref(bucket, naming.CACHE_PREFIX)))
    except StylefleetError as error:
        return StoreFacts(bucket=bucket, endpoint=endpoint, racing=error)
    return StoreFacts(bucket=bucket, endpoint=endpoint, winners=tuple(winners))


def judge(facts: StoreFacts, *, credentials_from: str, settings: str) -> list[Check]:
    """The checks credentials, bucket and conditional-writes.

    `credentials_from` says where they were found and nothing of them; `settings` names the variables that say where
    the store is.
    """
    fault = facts.reading or facts.writing
    if isinstance(fault, CredentialsRefused | CredentialsExpired):
        return [
            failed("credentials", fault, _credentials_remedy(fault, credentials_from)),
            *skipped(["bucket", "conditional-writes"], "the store does not take the credentials"),
        ]
    if isinstance(fault, StoreUnavailable):
        remedy = f"Check {settings} and the network (a NetworkPolicy, a proxy, DNS) between here and {facts.endpoint}"
        return [
            *skipped(["credentials"], "the store did not answer"),
            failed("bucket", fault, remedy),
            *skipped(["conditional-writes"], "the store did not answer"),
        ]
    credentials = ok("credentials", f"{facts.endpoint} takes them; they are from: {credentials_from}")
    if fault is not None:
        return [
            credentials,
            failed("bucket", fault, _bucket_remedy(facts, fault, settings)),
            *skipped(["conditional-writes"], "the bucket cannot be used"),
        ]
    return [
        credentials,
        ok("bucket", f"s3://{facts.bucket} at {facts.endpoint} can be listed, written and read"),
        _conditional_writes(facts),
    ]


def _credentials_remedy(fault: StylefleetError, credentials_from: str) -> str:
    said = str(fault)
    if "RequestTimeTooSkewed" in said:
        return "Set the clock of this machine (or of the store): they differ by more than 15 minutes"
    if isinstance(fault, CredentialsExpired):
        return (
            f"Renew the temporary credentials (from: {credentials_from}): sign in again, or replace the Secret and "
            "restart; with workload identity, check that the role may be assumed"
        )
    if "no S3 credentials" in said:
        return "Give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY by a Secret, or a role to the service account"
    if "AuthorizationHeaderMalformed" in said:
        return "Set AWS_REGION to the bucket's region"
    return (
        f"Correct the key (from: {credentials_from}): AWS_ACCESS_KEY_ID is unknown to this store, or "
        "AWS_SECRET_ACCESS_KEY does not belong to it; the session token must be unset unless they are temporary"
    )


def _bucket_remedy(facts: StoreFacts, fault: StylefleetError, settings: str) -> str:
    if isinstance(fault, NotFound):
        return f"Create the bucket {facts.bucket}, or correct {settings}"
    if isinstance(fault, AccessDenied):
        what = "listed" if facts.reading is not None else "written to"
        return f"The credentials are known, but the bucket may not be {what}: allow {ACTIONS}"
    return f"Check {settings}, and that the bucket is in AWS_REGION"


def _conditional_writes(facts: StoreFacts) -> Check:
    id = "conditional-writes"
    if facts.racing is not None:
        return failed(id, facts.racing, store.UNFIT_REMEDY)
    for winners in facts.winners:
        fault = store.unfit_because(winners)
        if fault:
            return failed(id, fault, store.UNFIT_REMEDY)
    return ok(id, f"in {len(facts.winners)} races of {store.PROBE_WRITERS} writers exactly one won")
