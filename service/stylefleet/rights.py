"""The rights in the Jobs' namespace that the controller uses, and what for; the doctor asks for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Right:
    """One verb on one kind of object."""

    group: str
    """API group; empty for the core one."""
    resource: str
    verb: str
    purpose: str
    name: str = ""
    """Of the only object that it is needed for; empty for all."""

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {resource}{f' {self.name}' if self.name else ''}"


def _jobs(verb: str, purpose: str) -> Right:
    return Right(group="batch", resource="jobs", verb=verb, purpose=purpose)


def _leases(verb: str, purpose: str, name: str) -> Right:
    return Right(group="coordination.k8s.io", resource="leases", verb=verb, purpose=purpose, name=name)


def rights(lease: str | None) -> tuple[Right, ...]:
    """All of them; `lease` is the name of the Lease that several controllers share."""
    return (
        _jobs("create", "to start workers"),
        _jobs("get", "to know its own Job again"),
        _jobs("list", "to see how the workers do"),
        _jobs("patch", "to let a reported Job go"),
        _jobs("delete", "to stop the workers of a cancelled run"),
        Right(group="", resource="pods", verb="list", purpose="to say why workers wait and why they failed"),
        Right(group="", resource="events", verb="list", purpose="to say why pods cannot be made"),
        *(
            (
                _leases("create", "to stand for election among controllers", ""),
                _leases("get", "to see who leads", lease),
                _leases("update", "to go on leading", lease),
            )
            if lease
            else ()
        ),
    )
