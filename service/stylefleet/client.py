"""The service for programs: submit, look, wait, cancel, from a notebook or a task of Airflow, Prefect and the like."""

from __future__ import annotations

from collections.abc import Iterator

from stylefleet import following, naming, settings, submitting
from stylefleet.errors import NotFound
from stylefleet.status import Status
from stylefleet.store import Store
from stylefleet.store_s3 import S3Store, make_client
from stylefleet.style_job import StyleJob


class Client:
    """A service, by its bucket. Nothing is sent before a method is called.

    >>> from stylefleet import Client, StyleJob
    >>> job = StyleJob.build(
    ...     name="spring",
    ...     content="s3://shop/catalog/",
    ...     styles=["s3://shop/styles/starry_night.jpg"],
    ...     output="s3://shop/restyled/spring/",
    ... )
    >>> client = Client(bucket="shop")
    >>> run = client.submit(job)
    >>> ended = client.wait(job.name, run=run)
    >>> ended.phase.value, ended.done, ended.failed
    ('Succeeded', 2, 0)

    Everything may raise AccessDenied, and StoreUnavailable where trying again later may help.
    """

    def __init__(
        self,
        *,
        bucket: str | None = None,
        endpoint_url: str | None = None,
        tenant: str = "",
        store: Store | None = None,
    ) -> None:
        """`bucket` and `endpoint_url` (of an S3 server other than AWS) are those of STYLEFLEET_BUCKET and
        STYLEFLEET_S3_ENDPOINT where they are left out; credentials are found as AWS tools do. With `tenant`, manifests
        go to its folder of the inbox, and names are those in it. A `store` stands in for S3 in tests. Raises
        SettingsInvalid where no bucket is named.
        """
        place = settings.client_settings(bucket=bucket, endpoint_url=endpoint_url)
        self.bucket = place.bucket
        self.tenant = tenant
        self._store = S3Store(make_client(place.endpoint_url, place.region)) if store is None else store

    def submit(self, job: StyleJob) -> str:
        """Put the job's manifest into the inbox, in place of an earlier one of its name, and say which run that is.

        Put again, it restyles only what is new. Raises ManifestInvalid where its name is too long beside the tenant's,
        SettingsInvalid where a file with another suffix has its name already.
        """
        name, _ = submitting.checked(job.data, self.tenant)
        submitting.put(self._store, self.bucket, name, job.data)
        run = following.submitted_run(self._store, self.bucket, name)
        if run is None:
            raise NotFound(f"{name}: its manifest was deleted at this very moment")
        return run

    def status(self, name: str) -> Status:
        """How the newest run stands. Raises NotFound where no controller has seen a manifest of this name."""
        return following.read_status(self._store, self.bucket, self._full(name))

    def follow(self, name: str, *, run: str | None = None) -> Iterator[Status]:
        """The status each second until the run has ended; the last one is final. See `wait`."""
        name = self._full(name)
        if run is None:
            run = following.asked_run(self._store, self.bucket, name)
        yield from following.follow(self._store, self.bucket, name, run=run)

    def wait(self, name: str, *, run: str | None = None) -> Status:
        """Wait until the run has ended, and say how: the caller decides what to make of its phase.

        The run is the one of the manifest that is in the inbox now, or `run` as `submit` gave it. Another process may
        wait for what this one submitted. Raises NotFound where nobody knows the name, or no controller speaks of the
        run within two minutes: none is running, or a newer submission has taken the run's place.
        """
        *_, last = self.follow(name, run=run)
        return last

    def cancel(self, name: str) -> None:
        """Stop the run; what is finished stays. Raises NotFound where there is no manifest of this name."""
        name = self._full(name)
        submitting.mark(self._store, self.bucket, name, naming.cancel_key(name))

    def _full(self, name: str) -> str:
        return naming.full_name(self.tenant, name)
