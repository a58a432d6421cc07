"""What a run costs: predicted from its plan, and found from its receipts. Pure; nothing is said without a price.

Both are worker time at the price of a GPU-hour, a worker without GPU counting as one. LEFT_OUT says what is in neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from stylefleet.plan import Plan
from stylefleet.tally import Sums

LEFT_OUT = (
    "Time of workers only: from the start of their process to the last receipts that they wrote. Left out are the start"
    " of pods and nodes, attempts that died before they wrote receipts, pictures that were done twice, idle nodes, the "
    "bucket and the controller."
)
"""For people, wherever an amount is shown."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What an hour of one GPU costs."""

    per_gpu_hour: float
    currency: str
    """ISO 4217."""

    def of(self, seconds: float) -> float:
        """The price of so many seconds of one GPU."""
        return self.per_gpu_hour * seconds / 3600


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one run costs."""

    currency: str
    """ISO 4217."""
    estimated: float | None
    """Of all its pictures, from its plan; None for a plan of an earlier version, which says no seconds."""
    actual: float
    """So far, from its receipts."""


def predicted_gpu_seconds(plan: Plan) -> float | None:
    """What the plan's pictures will take, times the GPUs of a worker; more workers at a time change nothing of it. None
    where the plan does not say what a picture takes."""
    if not plan.seconds_per_picture:
        return None
    return plan.tasks * plan.seconds_per_picture * max(1, plan.gpus)


def cost_of(plan: Plan, sums: Sums, price: Price | None) -> Cost | None:
    """What a run costs; None without a price."""
    if price is None:
        return None
    predicted = predicted_gpu_seconds(plan)
    estimated = None if predicted is None else price.of(predicted)
    return Cost(currency=price.currency, estimated=estimated, actual=price.of(sums.paid_seconds))


def in_words(amount: float, currency: str) -> str:
    """`USD 12.34`; of less than one, as many digits as tell something."""
    if amount >= 1 or amount == 0:
        return f"{currency} {amount:,.2f}"
    return f"{currency} {amount:.4f}" if amount >= 0.0001 else f"less than {currency} 0.0001"
