"""S3, and every server that speaks it, through boto3.

Retries: botocore's standard mode inside one call, tenacity around it for what botocore gives up on (a storm of 503s).
A conditional put whose answer was lost is recognized: the object carries a token of this very put in its metadata.
"""

from __future__ import annotations

import email.utils
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.config
import botocore.exceptions
import botocore.session
import tenacity

from stylefleet import __version__
from stylefleet.errors import (
    AccessDenied,
    CredentialsExpired,
    CredentialsRefused,
    NotFound,
    PermanentError,
    PreconditionFailed,
    StoreUnavailable,
    StoreUnfit,
    StylefleetError,
)
from stylefleet.naming import Ref
from stylefleet.s3_listing import BEFORE_PARSE, DIGEST, KNOWN, take_contents, timestamp
from stylefleet.store import Head, Listed, Object, Page
from stylefleet.traffic import S3Result, Traffic, Uncounted

if TYPE_CHECKING:
    from botocore.awsrequest import AWSResponse
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef, ListObjectsV2OutputTypeDef

CONNECTIONS_MAX = 32
ATTEMPTS = 4
"""Of one call, each with botocore's own attempts inside."""
WAIT_SECONDS_MAX = 20.0
_TOKEN = "stylefleet-put"  # noqa: S105 - the name of a metadata field

_NOT_FOUND = {"NoSuchKey", "NoSuchBucket", "404", "NotFound"}
_UNKNOWN = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"}
_DENIED = {"AccessDenied", "403", "Forbidden"}
_RENEWABLE = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "RequestTimeTooSkewed", "TokenRefreshRequired"}
"""Faults of temporary credentials or of a clock: the next attempt, or the next pod, may have better ones."""
_PRECONDITION = {"PreconditionFailed", "412"}
_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429"}

T = TypeVar("T")


def make_client(
    endpoint_url: str | None,
    region: str | None,
    *,
    retries: int = 5,
    before_send: Callable[[], None] | None = None,
) -> S3Client:
    """A client with explicit time limits and retries; the credentials are those of the AWS default chain.

    `before_send` is called before each attempt of each request; what it raises ends the request.
    """
    # Servers other than AWS often lack the newer checksum headers, so these are sent only where required.
    checksums: dict[str, Any] = (
        {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        if endpoint_url
        else {}
    )
    config = botocore.config.Config(
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=CONNECTIONS_MAX,
        # botocore composes its own for each request: an eighth of what one costs.
        user_agent=f"stylefleet/{__version__}",
        retries={"mode": "standard", "max_attempts": retries},
        s3={"addressing_style": "path" if endpoint_url else "auto"},
        **checksums,
    )
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=timestamp)
    client: S3Client = boto3.session.Session(botocore_session=session).client(
        "s3", endpoint_url=endpoint_url, region_name=region or ("us-east-1" if endpoint_url else None), config=config
    )
    client.meta.events.register(BEFORE_PARSE, take_contents)
    if before_send is not None:
        client.meta.events.register("before-send.s3", lambda **_: before_send())
    return client


def credentials_from() -> str:
    """Where the AWS default chain finds credentials (`env`, `assume-role-with-web-identity`, ...); nothing of them."""
    try:
        found = boto3.session.Session().get_credentials()
    except botocore.exceptions.BotoCoreError as error:
        return f"a source that fails ({type(error).__name__})"
    return str(found.method) if found else "nowhere"


class _BucketNotFound(NotFound):
    """The store has no such bucket."""


class S3Store:
    """Buckets of one S3 endpoint; safe to use from several threads, not across a fork."""

    def __init__(self, client: S3Client, *, attempts: int = ATTEMPTS, traffic: Traffic | None = None) -> None:
        """`traffic` is told of each request, and of each attempt of it, botocore's own among them."""
        self._client = client
        self._attempts = attempts
        self._traffic = traffic or Uncounted()
        self._told: tuple[datetime, float] | None = None
        """The store's time as its newest answer has it, and the monotonic clock when that came."""
        client.meta.events.register("after-call.s3", self._note_time)
        client.meta.events.register("response-received.s3", self._note_answer)

    def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
        condition: Any = {"IfMatch": _quoted(if_match)} if if_match else {}

        def read() -> Object:
            answer = self._client.get_object(Bucket=ref.bucket, Key=ref.key, **condition)
            return Object(
                ref=ref,
                data=answer["Body"].read(),
                etag=answer["ETag"].strip('"'),
                modified_at=answer["LastModified"],
                metadata={k: v for k, v in answer["Metadata"].items() if k != _TOKEN},
            )

        return self._call("GetObject", ref, read)

    def head(self, ref: Ref) -> Head:
        answer = self._head(ref)
        return Head(
            ref=ref,
            etag=answer["ETag"].strip('"'),
            size_bytes=answer["ContentLength"],
            metadata={k: v for k, v in answer["Metadata"].items() if k != _TOKEN},
        )

    def put(
        self,
        ref: Ref,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        condition: Any = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": _quoted(if_match)} if if_match else {}
        token = uuid.uuid4().hex
        fields = {**(metadata or {}), **({_TOKEN: token} if condition else {})}

        def write() -> str:
            answer = self._client.put_object(
                Bucket=ref.bucket,
                Key=ref.key,
                Body=data,
                ContentType=content_type,
                Metadata=fields,
                **condition,
            )
            return answer["ETag"].strip('"')

        try:
            return self._call("PutObject", ref, write)
        except _BucketNotFound:
            raise
        except (PreconditionFailed, NotFound):
            # NotFound: S3 answers 404 to If-Match on a key that is gone. Either way it may be our own first attempt
            # that won, its answer lost on the way.
            if condition:
                own = self._own_put(ref, token)
                if own is not None:
                    return own
                if if_match is not None:
                    raise PreconditionFailed(f"{ref}: the object has changed") from None
            raise

    def _own_put(self, ref: Ref, token: str) -> str | None:
        """The ETag of `ref` where it is what the put with `token` wrote."""
        try:
            head = self._head(ref)
        except NotFound:
            return None
        return head["ETag"].strip('"') if head["Metadata"].get(_TOKEN) == token else None

    def _head(self, ref: Ref) -> HeadObjectOutputTypeDef:
        return self._call("HeadObject", ref, lambda: self._client.head_object(Bucket=ref.bucket, Key=ref.key))

    def delete(self, ref: Ref) -> None:
        self._call("DeleteObject", ref, lambda: self._client.delete_object(Bucket=ref.bucket, Key=ref.key))

    def list(self, prefix: Ref, *, after: str = "") -> Iterator[Listed]:
        # Page by page with our own token: a paginator that met a fault ends quietly when asked again.
        page = self._page(prefix, {"StartAfter": after} if after else {})
        with ThreadPoolExecutor(1) as ahead:
            while True:
                # The next page is on its way while the caller is at work on this one.
                coming = (
                    ahead.submit(self._page, prefix, {"ContinuationToken": page["NextContinuationToken"]})
                    if page["IsTruncated"]
                    else None
                )
                yield from _objects(prefix.bucket, page)
                if coming is None:
                    return
                page = coming.result()

    def pages(self, prefix: Ref, *, after: str = "", known: Mapping[bytes, Page]) -> Iterator[Page]:
        where = {"StartAfter": after} if after else {}
        while True:
            asked = KNOWN.set(known)
            try:
                page = self._page(prefix, where)
            finally:
                KNOWN.reset(asked)
            digest: bytes = page.get(DIGEST, b"")  # type: ignore[assignment]
            yield known.get(digest) or Page(objects=tuple(_objects(prefix.bucket, page)), digest=digest)
            if not page["IsTruncated"]:
                return
            where = {"ContinuationToken": page["NextContinuationToken"]}

    def now(self) -> datetime:
        if self._told is None:
            raise StoreUnfit("the store does not tell its time: its answers must have a Date, as HTTP demands")
        told, at = self._told
        return told + timedelta(seconds=time.monotonic() - at)

    def _note_time(self, *, http_response: AWSResponse, **_: object) -> None:
        told = _date_in(http_response.headers)
        if told is not None:
            self._told = (told, time.monotonic())

    def _page(self, prefix: Ref, where: dict[str, str]) -> ListObjectsV2OutputTypeDef:
        more: Any = where

        def ask() -> ListObjectsV2OutputTypeDef:
            page = self._client.list_objects_v2(Bucket=prefix.bucket, Prefix=prefix.key, **more)
            if "IsTruncated" not in page:
                # Some proxy's page with status 200. botocore takes it for an empty listing; every run would be an
                # orphan.
                raise StoreUnavailable(f"{prefix}: the answer is no listing")
            return page

        return self._call("ListObjectsV2", prefix, ask)

    def _call(self, operation: str, ref: Ref, request: Callable[[], T]) -> T:
        started = time.monotonic()
        try:
            return _call(ref, request, self._attempts)
        finally:
            self._traffic.took(operation, time.monotonic() - started)

    def _note_answer(self, *, event_name: str, parsed_response: dict[str, Any] | None, **_: object) -> None:
        """botocore's hook for each answer, and for each attempt without one."""
        self._traffic.answered(event_name.rpartition(".")[2], _result(parsed_response))


def _result(answer: Mapping[str, Any] | None) -> S3Result:
    """How an attempt ended, in one word; `answer` is None where there was none."""
    facts = answer or {}
    code, status = _code_and_status(facts)
    if "Error" not in facts and 200 <= status < 300:
        return "ok"
    if code in _PRECONDITION:
        return "precondition_failed"
    if code in _NOT_FOUND:
        return "not_found"
    if code in _THROTTLED:
        return "throttled"
    if code in _DENIED | _UNKNOWN | _RENEWABLE or status in (401, 403):
        return "denied"
    return "unavailable"


def _code_and_status(answer: Mapping[str, Any]) -> tuple[str, int]:
    error, metadata = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    return str(error.get("Code", "")), metadata.get("HTTPStatusCode", 0)


def _objects(bucket: str, page: ListObjectsV2OutputTypeDef) -> Iterator[Listed]:
    for item in page.get("Contents", []):
        yield Listed(
            ref=Ref(bucket, item["Key"]),
            etag=item["ETag"].strip('"'),
            size_bytes=item["Size"],
            modified_at=item["LastModified"].replace(microsecond=0),
        )


def _skew(error: botocore.exceptions.ClientError) -> str:
    """How far this machine's clock is from that of the store, which takes no signature that differs by 15 minutes."""
    told = _date_in(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))
    if told is None:
        return "this machine's clock and the store's are more than 15 minutes apart"
    minutes = (datetime.now(UTC) - told).total_seconds() / 60
    return f"this machine's clock is {abs(minutes):.0f} minutes {'ahead of' if minutes > 0 else 'behind'} the store's"


def _date_in(headers: Mapping[str, str]) -> datetime | None:
    """The time in an answer's headers; None where there is none, or none that can be read."""
    try:
        return email.utils.parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None


def _quoted(etag: str | None) -> str:
    return f'"{etag}"'


def _call(ref: Ref, request: Callable[[], T], attempts: int) -> T:
    """Run one request, translate its failure, and retry what is transient."""

    def attempt() -> T:
        try:
            return request()
        except botocore.exceptions.ClientError as error:
            raise _translated(ref, error) from error
        except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
            raise CredentialsRefused(
                f"{ref}: no S3 credentials: {error}. Set AWS_ACCESS_KEY_ID or a profile"
            ) from error
        except (
            botocore.exceptions.ConnectionError,  # refused, no route, no name
            botocore.exceptions.HTTPClientError,  # reset, timed out
            botocore.exceptions.ResponseStreamingError,
            botocore.exceptions.IncompleteReadError,
            botocore.exceptions.CredentialRetrievalError,
            botocore.exceptions.MetadataRetrievalError,
        ) as error:
            raise StoreUnavailable(f"{ref}: the store did not answer: {error}") from error
        except botocore.exceptions.BotoCoreError as error:
            raise PermanentError(f"{ref}: {error}") from error

    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StoreUnavailable),
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=WAIT_SECONDS_MAX),
        reraise=True,
    )
    return retry(attempt)


def _translated(ref: Ref, error: botocore.exceptions.ClientError) -> StylefleetError:  # noqa: PLR0911 - a table
    code, status = _code_and_status(error.response)
    if code == "NoSuchBucket":
        return _BucketNotFound(f"s3://{ref.bucket}: no such bucket")
    if code in _NOT_FOUND:
        return NotFound(f"{ref}: no such object")
    if code in _PRECONDITION:
        return PreconditionFailed(f"{ref}: somebody else wrote first")
    if code == "RequestTimeTooSkewed":
        return CredentialsExpired(f"{ref}: {_skew(error)}. Set the clock of this machine ({code})")
    if code in _RENEWABLE:
        return CredentialsExpired(f"{ref}: the store does not take these credentials now ({code})")
    if code in _UNKNOWN:
        return CredentialsRefused(f"{ref}: the store refuses these credentials ({code})")
    if code in _DENIED or status in (401, 403):
        return AccessDenied(f"{ref}: the store refuses these credentials ({code})")
    if code == "NotImplemented" or status == 501:
        return PermanentError(f"{ref}: the store answered {status} {code}: it does not know this kind of request")
    if status >= 500 or status in (409, 429) or code in ("SlowDown", "RequestTimeout", "Throttling"):
        return StoreUnavailable(f"{ref}: the store answered {status} {code}")
    return PermanentError(f"{ref}: the store answered {status} {code}: {error}")
