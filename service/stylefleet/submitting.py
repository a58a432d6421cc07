"""The way of a manifest into the inbox: what `submit` and the Python API have in common."""

from __future__ import annotations

from stylefleet import manifest as manifests
from stylefleet import naming, yaml_positions
from stylefleet.errors import NotFound, SettingsInvalid
from stylefleet.following import manifests_called
from stylefleet.manifest import Manifest
from stylefleet.naming import Ref
from stylefleet.store import Store


def checked(data: bytes, tenant: str = "") -> tuple[str, Manifest]:
    """What a manifest is called in the inbox, and what it says; raises ManifestInvalid with every broken rule, and
    SettingsInvalid for another tenant's name than there can be."""
    if tenant and not naming.NAME_PATTERN.fullmatch(tenant):
        raise SettingsInvalid(f"tenant: found {tenant!r}, allowed are {naming.NAME_RULE}")
    document = yaml_positions.parse(data).data
    metadata = document.get("metadata") if isinstance(document, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    # Whatever its file is called: in the inbox it is called after its metadata.name.
    full_name = naming.full_name(tenant, str(name))
    return full_name, manifests.parse(data, name=full_name)


def put(store: Store, bucket: str, name: str, data: bytes) -> Ref:
    """Put a checked manifest into the inbox and say where; a cancel marker of an earlier run is taken away. Raises
    SettingsInvalid where another file has its name already."""
    ref = Ref(bucket, f"{naming.INBOX_PREFIX}{name}.yaml")
    twins = [found for found in manifests_called(store, bucket, name) if found != ref]
    if twins:
        raise SettingsInvalid(f"{twins[0]} has this name already; delete it first, or choose another metadata.name")
    store.delete(Ref(bucket, naming.cancel_key(name)))
    store.put(ref, data, content_type="application/yaml")
    return ref


def mark(store: Store, bucket: str, name: str, key: str) -> None:
    """Put a marker of this key beside the manifest `name`; raises NotFound where there is no such manifest."""
    if not manifests_called(store, bucket, name):
        raise NotFound(f"{name}: no manifest in s3://{bucket}/{naming.INBOX_PREFIX}")
    store.put(Ref(bucket, key), b"")
