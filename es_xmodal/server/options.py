"""What a person may choose about the service."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from es_xmodal.errors import SettingsError

Role = Literal["search", "admin"]
ROLES: tuple[Role, ...] = ("search", "admin")
LEAST_KEY_CHARS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """How the service behaves; every limit is per process.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        keys: hash of an API key -> its role, as `parse_keys` returns them; empty: no key is asked for, which
            is allowed on loopback only.
        cors_origins: origins whose pages may call; empty: none but the service's own.
        max_body_bytes: of one request.
        max_pictures: in one query.
        max_hits: on one page.
        running: requests that are worked on at once.
        waiting: requests that wait for one of those places; more are answered 503.
        wait_s: longest wait for a place; who is likely to wait longer is refused at once.
        answer_s: longest time for one answer; after it the caller gets 504.
        rate_per_s: requests a second of one caller, on average; 0: no limit.
        burst: requests that one caller may send at once.
        batch_wait_ms: how long the first of several concurrent texts or pictures waits for others, so that
            the encoder gets them together, where some came together lately; 0: it does not wait.
        log_queries: write the words of queries to the log.
        images_root: folder of the products' pictures, for small ones of them; empty: none are given.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Mapping[str, Role] = field(default_factory=dict)
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 25 * 1024 * 1024
    max_pictures: int = 4
    max_hits: int = 100
    running: int = 8
    waiting: int = 64
    wait_s: float = 0.75
    answer_s: float = 30.0
    rate_per_s: float = 0.0
    burst: int = 50
    batch_wait_ms: float = 2.0
    log_queries: bool = False
    images_root: str = ""

    def __post_init__(self) -> None:
        if not self.keys and not is_loopback(self.host):
            raise SettingsError(
                f"the service would listen on {self.host} without a key",
                hint="set ES_XMODAL_SERVER_KEYS=search:KEY,admin:KEY, or listen on 127.0.0.1",
            )
        if "*" in self.cors_origins:
            raise SettingsError(
                "cors_origins: * would let every page call", hint="name the shop's own origins"
            )
        for name in ("max_body_bytes", "max_pictures", "max_hits", "running", "burst"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name}: must be at least 1")
        for name in ("waiting", "wait_s", "rate_per_s", "batch_wait_ms"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name}: must not be negative")
        if self.images_root and not Path(self.images_root).is_dir():
            raise SettingsError(f"images_root: {self.images_root!r} is no folder")
        if self.answer_s <= 0:
            raise SettingsError("answer_s: must be above 0")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_keys(text: str) -> dict[str, Role]:
    """Read API keys.

    Args:
        text: `ROLE:KEY`, several with commas, as in `search:KEY1,admin:KEY2`.

    Returns:
        Hash of each key -> its role; the keys themselves are not kept.

    Raises:
        SettingsError: it is not written like that, or a key is too short; no key is shown.
    """
    keys: dict[str, Role] = {}
    for at, one in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        role, _, key = one.partition(":")
        found = next((known for known in ROLES if known == role.strip()), None)
        if found is None:
            raise SettingsError(
                f"server keys: number {at} names no role", hint="write search:KEY or admin:KEY"
            )
        if len(key.strip()) < LEAST_KEY_CHARS:
            raise SettingsError(
                f"server keys: number {at} is shorter than {LEAST_KEY_CHARS} characters",
                hint="make one with: python -c 'import secrets; print(secrets.token_urlsafe(24))'",
            )
        keys[key_hash(key.strip())] = found
    return keys


def key_hash(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def role_of(keys: Mapping[str, Role], key: str) -> Role | None:
    """Return the role of a key, None for a wrong one, in a time that does not depend on how wrong it is."""
    given = key_hash(key)
    role: Role | None = None
    for known, its_role in keys.items():
        if hmac.compare_digest(known, given):
            role = its_role
    return role
