"""Messages as they come out of a queue, complete, for the key `jobs/spring catalog+1.yaml` of the bucket `service`."""

from __future__ import annotations

import json
from typing import Any

BUCKET, KEY = "service", "jobs/spring catalog+1.yaml"
AS_IN_A_URL = "jobs/spring+catalog%2B1.yaml"


def s3_event(key: str = AS_IN_A_URL, *, bucket: str = BUCKET, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """What S3 sends to SQS; keys as in a URL."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "eu-west-1",
                "eventTime": "2026-03-01T12:00:00.123Z",
                "eventName": name,
                "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
                "requestParameters": {"sourceIPAddress": "203.0.113.9"},
                "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRj"},
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "inbox",
                    "bucket": {
                        "name": bucket,
                        "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                        "arn": f"arn:aws:s3:::{bucket}",
                    },
                    "object": {
                        "key": key,
                        "size": 1024,
                        "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                        "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                        "sequencer": "0055AED6DCD90281E5",
                    },
                },
            }
        ]
    }


TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2026-03-01T12:00:00.000Z",
    "Bucket": BUCKET,
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
}
"""Sent once, when notifications are configured."""


def by_sns(event: dict[str, Any]) -> dict[str, Any]:
    """What SNS makes of an event on its way to a queue, without raw delivery."""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:eu-west-1:111122223333:inbox",
        "Subject": "Amazon S3 Notification",
        "Message": json.dumps(event),
        "Timestamp": "2026-03-01T12:00:00.200Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLEw6JRN...",
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:eu-west-1",
    }


def by_eventbridge(key: str = KEY, *, bucket: str = BUCKET, detail_type: str = "Object Created") -> dict[str, Any]:
    """What a rule of EventBridge sends to a queue; keys as they are."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2026-03-01T12:00:00Z",
        "region": "eu-west-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {
                "key": key,
                "size": 1024,
                "etag": "d41d8cd98f00b204e9800998ecf8427e",
                "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                "sequencer": "617f08299329d189",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "111122223333",
            "source-ip-address": "203.0.113.9",
            "reason": "PutObject",
        },
    }


def by_minio(key: str = AS_IN_A_URL) -> dict[str, Any]:
    """What MinIO sends: as S3, with the object's name once more at the top."""
    event = s3_event(key, name="s3:ObjectCreated:Put")
    event["Records"][0]["eventSource"] = "minio:s3"
    return {"EventName": "s3:ObjectCreated:Put", "Key": f"{BUCKET}/{KEY}", **event}
