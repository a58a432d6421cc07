"""The timings in the bucket: read when a run is planned, written when one ends. Losing them costs even shards only."""

from __future__ import annotations

import structlog

from stylefleet import naming, timings
from stylefleet.errors import AccessDenied, NotFound, RecordUnreadable
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.store import Store
from stylefleet.tally import Sums
from stylefleet.timings import Timing

log = structlog.get_logger(__name__)


def load(store: Store, bucket: str, *, gpus: int, tenant: str) -> tuple[Timing, ...]:
    """What pictures took on a tenant's workers with so many GPUs; nothing where none is known or can be read."""
    ref = Ref(bucket, naming.timings_key(gpus, tenant))
    try:
        return timings.from_json(store.get(ref).data)
    except NotFound:
        return ()
    except (AccessDenied, RecordUnreadable) as error:
        # Planning goes by the assumed speed, and the plan says so.
        log.warning("timings_unreadable", object=str(ref), error=str(error))
        return ()


def learn(store: Store, bucket: str, plan: Plan, sums: Sums) -> None:
    """Remember what the pictures of a run took, by its receipts."""
    new = timings.timing_of(plan, sums)
    if new is None:
        return
    tenant = naming.tenant_of(plan.name)
    known = load(store, bucket, gpus=plan.gpus, tenant=tenant)
    ref = Ref(bucket, naming.timings_key(plan.gpus, tenant))
    after = timings.with_new(known, new)
    if after == known:
        return
    try:
        store.put(ref, timings.to_json(after), content_type="application/json")
    except AccessDenied as error:
        # The bucket's policy may be older than timings: no reason for the run not to end.
        log.warning("timings_not_kept", object=str(ref), error=str(error))
