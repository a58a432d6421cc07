"""Tokens, keys and kubeconfigs of one lab: made at random at each first `up`, worth nothing outside its namespace."""

import secrets
from pathlib import Path

from . import render
from .components import ADMIN, USER_GROUPS, user_kubeconfig
from .settings import LabPaths
from .shell import run


def ensure_credentials(paths: LabPaths) -> None:
    """Write all credentials, unless a whole set is there: the token table is written last."""
    table = paths.credentials / "tokens.csv"
    if table.exists():
        return
    paths.credentials.mkdir(parents=True, exist_ok=True, mode=0o700)
    private, public = (paths.credentials / f"service-account.{kind}" for kind in ("key", "pub"))
    run(["openssl", "genrsa", "-out", private, "2048"])
    run(["openssl", "rsa", "-in", private, "-pubout", "-out", public])
    tokens = {user: secrets.token_hex(16) for user in USER_GROUPS}
    for user, token in tokens.items():
        text = render.kubeconfig(user=user, token=token, certificate_authority=paths.api_ca)
        target = paths.kubeconfig if user == ADMIN else Path(user_kubeconfig(paths, user))
        target.touch(mode=0o600)
        target.write_text(text, encoding="utf-8")
    table.touch(mode=0o600)
    table.write_text(render.token_table(tokens, USER_GROUPS), encoding="utf-8")
