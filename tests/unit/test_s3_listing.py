"""A page of a listing is read as botocore reads it; what is odd about one is left to botocore."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.parsers import ResponseParserFactory
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.s3_listing import DIGEST, KNOWN, take_contents, timestamp
from stylefleet.store_s3 import make_client

SHAPE = botocore.session.get_session().get_service_model("s3").operation_model("ListObjectsV2").output_shape
ETAG = "<ETag>&quot;0f&quot;</ETag>"
TIME = "<LastModified>2026-03-01T12:00:00.789Z</LastModified>"
OWNER = "<Owner><ID>7</ID><DisplayName>me</DisplayName></Owner><StorageClass>STANDARD</StorageClass>"
GOOD = f"<Contents><Key>a</Key>{TIME}{ETAG}<Size>7</Size>{OWNER}</Contents>"
MORE = "<NextContinuationToken>next</NextContinuationToken>"


def page(inner: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>shop</Name><IsTruncated>true</IsTruncated>{inner}</ListBucketResult>"
    ).encode()


def parsed(body: bytes, *, ours: bool, status: int = 200) -> tuple[dict[str, Any], bytes]:
    """A page as the client hands it out, and what botocore itself had to parse of it."""
    factory = ResponseParserFactory()
    factory.set_parser_defaults(timestamp_parser=timestamp)
    response: dict[str, Any] = {"body": body, "headers": {}, "status_code": status}
    taken: dict[str, Any] = {}
    if ours:
        take_contents(response_dict=response, customized_response_dict=taken, operation_model=None)
    found: dict[str, Any] = factory.create_parser("rest-xml").parse(response, SHAPE)
    return found | taken, response["body"]


FIELDS = ("Key", "ETag", "Size", "LastModified")


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
            st.integers(0, 10**13),
            st.sampled_from(["2026-03-01T12:00:00.789Z", "2026-03-01T13:00:00+01:00", "Sun, 01 Mar 2026 12:00:00 GMT"]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["", "\n  "]),
)
def test_a_page_is_read_as_botocore_reads_it(objects: list[tuple[str, int, str]], space: str) -> None:
    contents = space.join(
        f"<Contents>{space}<Key>{escape(key)}</Key><LastModified>{time}</LastModified>{space}{ETAG}<Size>{size}</Size>"
        f"{OWNER}</Contents>"
        for key, size, time in objects
    )
    body = page(f"{contents}{space}{MORE}")
    (ours, left), (theirs, _) = parsed(body, ours=True), parsed(body, ours=False)
    assert [{f: o[f] for f in FIELDS} for o in theirs.pop("Contents")] == ours.pop("Contents")
    assert ours == theirs
    assert ours["NextContinuationToken"] == "next"
    assert b"Contents" not in left


@pytest.mark.parametrize(
    ("inner", "status"),
    [
        (MORE, 200),
        (f"{GOOD}{MORE}{GOOD}", 200),
        (f"{GOOD}<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes>{GOOD}", 200),
        (f"<Contents><Key>a</Key>{TIME}<Size>7</Size></Contents>", 200),
        (f"<Contents><Key>a</Key>{TIME}{ETAG}<Size></Size></Contents>", 200),
        (f"<Contents><Key>a</Key>{TIME}{ETAG}<Size>many</Size></Contents>", 200),
        (f"<Contents><Key>a</Key><LastModified>soon</LastModified>{ETAG}<Size>7</Size></Contents>", 200),
        (f"<Contents><Key>a{GOOD}", 200),
        (f"{GOOD}<Contents><Key>a", 200),
        ("<Contents><Key>a</Contents>", 200),
        (GOOD, 503),
    ],
)
def test_a_page_that_is_not_as_s3_writes_it_is_left_to_botocore_as_it_is(inner: str, status: int) -> None:
    body = page(inner)
    response: dict[str, Any] = {"body": body, "headers": {}, "status_code": status}
    taken: dict[str, Any] = {}
    take_contents(response_dict=response, customized_response_dict=taken)
    if inner.startswith(GOOD + "<Contents>"):
        # What is cut off after the last whole object stays in the body, which botocore then refuses.
        assert response["body"].endswith(b"<Contents><Key>a</ListBucketResult>")
    else:
        assert (response["body"], taken) == (body, {})


def taken(inner: str, known: set[bytes] | None) -> tuple[dict[str, Any], bytes]:
    response: dict[str, Any] = {"body": page(inner), "headers": {}, "status_code": 200}
    found: dict[str, Any] = {}
    asked = KNOWN.set(known)
    take_contents(response_dict=response, customized_response_dict=found)
    KNOWN.reset(asked)
    return found, response["body"]


def test_a_page_is_told_with_its_digest_where_that_is_asked_for_and_not_parsed_where_it_is_known() -> None:
    assert DIGEST not in taken(GOOD, None)[0]
    first, left = taken(GOOD, set())
    assert [o["Key"] for o in first["Contents"]] == ["a"]
    assert taken(GOOD, {first[DIGEST]}) == ({DIGEST: first[DIGEST]}, left)


@pytest.mark.parametrize(
    "other", [GOOD + GOOD, GOOD.replace("<Key>a", "<Key>b"), GOOD.replace("0f", "0e"), GOOD.replace("12:00", "12:01")]
)
def test_another_page_has_another_digest(other: str) -> None:
    first, _ = taken(GOOD, set())
    found, _ = taken(other, {first[DIGEST]})
    assert found[DIGEST] != first[DIGEST]
    assert found["Contents"]


def test_an_odd_page_and_an_empty_one_have_no_digest() -> None:
    for inner in ("<Contents><Key>a</Contents>", MORE):
        assert taken(inner, set())[0] == {}


def test_our_client_takes_the_objects_out_before_botocore_looks_at_the_page() -> None:
    client = make_client("http://127.0.0.1:1", None)
    seen: list[bytes] = []
    # Where botocore looks for an error in an answer with status 200.
    client.meta.events.register_first(
        "before-parse.s3.*", lambda response_dict, **_: seen.append(response_dict["body"])
    )
    taken: dict[str, Any] = {}
    response = {"body": page(GOOD + MORE), "headers": {}, "status_code": 200}
    client.meta.events.emit(
        "before-parse.s3.ListObjectsV2",
        operation_model=client.meta.service_model.operation_model("ListObjectsV2"),
        response_dict=response,
        customized_response_dict=taken,
    )
    client.close()
    assert [o["Key"] for o in taken["Contents"]] == ["a"]
    assert seen == [page(MORE)]
