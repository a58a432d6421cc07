"""Tenants: whose folder of the inbox may read and write what, and where its workers run. Pure.

Without tenants the inbox is one folder of manifests, and everybody who writes there is trusted alike. With tenants
every manifest belongs to the one whose folder it lies in, so that a bucket policy decides who may submit for whom.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, RootModel, ValidationError
from pydantic_core import PydanticCustomError

from stylefleet import naming
from stylefleet.errors import FieldError, ManifestInvalid
from stylefleet.field_errors import explained
from stylefleet.fields import Model, Name, Uri
from stylefleet.naming import Ref
from stylefleet.yaml_positions import Document


class Tenant(Model):
    """One tenant, as the operator says."""

    name: Name
    """Its folder: manifests lie in `jobs/NAME/`."""
    allowed: Annotated[list[Uri], Field(min_length=1, max_length=100)]
    """Folders that its manifests may read and write."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] | None = None
    """Where its Jobs are made; None: where the controller's own are."""
    parallelism_max: Annotated[int, Field(ge=1)] | None = None
    """Workers at a time, over all of its runs; None: any number."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Its share of the workers beside those of other tenants, where not all can have what they want."""

    @property
    def places(self) -> tuple[Ref, ...]:
        return tuple(map(naming.parse_uri, self.allowed))


Tenants = Mapping[str, Tenant]
"""By name; empty where the inbox has no tenants."""


def _once(tenants: list[Tenant]) -> list[Tenant]:
    twice = [name for name, count in Counter(t.name for t in tenants).items() if count > 1]
    if twice:
        raise PydanticCustomError("tenants", "a tenant is named twice", {"found": twice[0], "allowed": "once"})
    return tenants


class _Tenants(RootModel[Annotated[list[Tenant], Field(max_length=1000), AfterValidator(_once)]]):
    """The operator's list."""


def parse(text: str, *, service_bucket: str) -> Tenants:
    """The tenants in a JSON list; raises ValueError with every broken rule: where, what was found, what is allowed."""
    try:
        document = Document(data=json.loads(text))
        tenants = {tenant.name: tenant for tenant in _Tenants.model_validate(document.data).root}
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    except ValidationError as error:
        broken = [explained(e, document, Tenant) for e in error.errors()]
        raise ValueError("; ".join(map(str, broken))) from error
    own = [Ref(service_bucket, prefix) for prefix in naming.OWN_PREFIXES]
    for tenant in tenants.values():
        for place in tenant.places:
            # A manifest could have the others' manifests, receipts and statuses restyled, and be told what is there.
            shared = [o for o in own if naming.is_below(o, place) or naming.is_below(place, o)]
            if shared:
                rule = "folders apart from " + ", ".join(map(str, own))
                raise ValueError(
                    f"tenant {tenant.name}: found {place}, which has part in {shared[0]}, allowed are {rule}"
                )
    return tenants


def concerns(name: str, tenants: Tenants) -> bool:
    """Whether a file of the inbox is a manifest at all: without tenants, folders of the inbox are nothing of ours."""
    return bool(tenants) or not naming.tenant_of(name)


def allowed_for(name: str, tenants: Tenants, *, everybody: tuple[Ref, ...]) -> tuple[Ref, ...]:
    """Folders that the manifest may read and write; `everybody`'s where there are no tenants.

    Raises ManifestInvalid where it belongs to no tenant. The others' names are nobody's business, so none is told.
    """
    if not tenants:
        return everybody
    folder = naming.tenant_of(name)
    if folder in tenants:
        return tenants[folder].places
    if not folder:
        message, allowed = (
            "this inbox has tenants, and the manifest lies in no tenant's folder",
            "jobs/TENANT/NAME.yaml",
        )
    else:
        message, allowed = "there is no such tenant", "the folder of a tenant that the operator has set up"
    raise ManifestInvalid(
        [FieldError(path="", message=message, found=f"{naming.INBOX_PREFIX}{name}.yaml", allowed=allowed)]
    )


def namespace_for(name: str, tenants: Tenants, *, default: str) -> str:
    """Where the Jobs of a manifest are."""
    tenant = tenants.get(naming.tenant_of(name))
    return tenant.namespace if tenant is not None and tenant.namespace else default


def namespaces(tenants: Tenants, *, default: str) -> tuple[str, ...]:
    """Every namespace in which there may be Jobs, the default one first."""
    return tuple(dict.fromkeys([default, *(t.namespace for t in tenants.values() if t.namespace)]))
