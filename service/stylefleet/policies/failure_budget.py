"""The failure budget: a run of which more pictures fail than its manifest bears is ended. Pure."""

from __future__ import annotations

from stylefleet.status import Ending


def too_many_failures(
    *, failures_max: int | None, failed: int, lost: int, tasks: int, causes: str, lost_because: str
) -> Ending | None:
    """Why a run of `tasks` pictures ends; None where it may go on.

    `failed` pictures have a receipt that says so, because of `causes`; `lost` ones never will have a receipt, since
    their shard was given up, because of `lost_because`. Both are failures. What is not yet tried is none.
    """
    if failures_max is None or failed + lost <= failures_max:
        return None
    parts = [causes] if causes else []
    if lost:
        parts.append(f"{lost:,} because their shard did" + (f": {lost_because}" if lost_because else ""))
    why = f" ({'; '.join(parts)})" if parts else ""
    because = (
        f"{failed + lost:,} of {tasks:,} pictures failed{why}, more than the {failures_max:,} that maxFailures allows"
    )
    return Ending(reason="TooManyFailures", because=because)
