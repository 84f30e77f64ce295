"""The one place where a client of Elasticsearch is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

import orjson
from elasticsearch import Elasticsearch, OrjsonSerializer
from elasticsearch.serializer import NdjsonSerializer
from pydantic import SecretStr

from es_xmodal.cluster.transport import BackoffTransport
from es_xmodal.errors import SettingsError

Client: TypeAlias = Elasticsearch
"""For those who hand a client on and never look inside."""

MAX_RETRIES = 2
CONNECTIONS = 8


class ConnectionSettings(Protocol):
    """What is needed to talk to a cluster; `es_xmodal.settings.Settings` is one."""

    @property
    def url(self) -> str | None: ...  # noqa: D102
    @property
    def api_key(self) -> SecretStr | None: ...  # noqa: D102
    @property
    def username(self) -> str | None: ...  # noqa: D102
    @property
    def password(self) -> SecretStr | None: ...  # noqa: D102
    @property
    def ca_certs(self) -> Path | None: ...  # noqa: D102
    @property
    def verify_certs(self) -> bool: ...  # noqa: D102
    @property
    def timeout_s(self) -> float: ...  # noqa: D102
    @property
    def patience_s(self) -> float: ...  # noqa: D102


class _OrjsonLines(NdjsonSerializer):
    """Bulk and multi-search bodies by orjson; lines that are bytes already pass as they are."""

    def json_dumps(self, data: Any) -> bytes:
        return orjson.dumps(data, default=self.default, option=orjson.OPT_SERIALIZE_NUMPY)

    def json_loads(self, data: bytes) -> Any:
        return orjson.loads(data)


def connect(settings: ConnectionSettings) -> Elasticsearch:
    """Return a client; nothing is sent yet.

    The client checks by itself, with the first good answer, that the other side is an Elasticsearch
    (header `X-Elastic-Product`), so no `GET /` is needed.

    Args:
        settings: address or, with commas between them, addresses of several nodes; credentials, certificates,
            timeout, patience.

    Returns:
        A client that retries connection errors and 429, 502, 503, 504 after a pause, on another node where
        there is one, and that writes and reads JSON with orjson. Use it as a context manager, or close it.

    Raises:
        SettingsError: the address or the certificate file cannot be used.
    """
    options: dict[str, Any] = {}
    if settings.api_key is not None:
        options["api_key"] = settings.api_key.get_secret_value()
    elif settings.username is not None and settings.password is not None:
        options["basic_auth"] = (settings.username, settings.password.get_secret_value())
    urls = _addresses(settings.url)
    if urls[0].startswith("https://"):
        options |= _tls_options(settings)
    try:
        client = Elasticsearch(
            urls,
            transport_class=BackoffTransport,
            request_timeout=settings.timeout_s,
            max_retries=MAX_RETRIES,
            retry_on_status=(429, 502, 503, 504),
            connections_per_node=CONNECTIONS,
            serializers={"application/json": OrjsonSerializer(), "application/x-ndjson": _OrjsonLines()},
            **options,
        )
    except (ValueError, OSError) as error:
        shown = ", ".join(map(without_credentials, urls))
        raise SettingsError(f"url: {shown} cannot be used: {error}") from error
    if isinstance(client.transport, BackoffTransport):
        client.transport.patience_s = settings.patience_s
    return client


def without_credentials(url: str) -> str:
    """Return the address as it may be shown: without user and password.

    Args:
        url: an address, perhaps with `user:password@`.

    Returns:
        The same address without them.
    """
    scheme, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{mark}{place.rpartition('@')[2]}{slash}{path}"


def _addresses(url: str | None) -> list[str]:
    """The addresses of one cluster's nodes."""
    urls = [_with_port(one.strip()) for one in (url or "").split(",") if one.strip()]
    if not urls:
        raise SettingsError(
            "url: no address of an Elasticsearch is known",
            hint="give --url, set ES_XMODAL_URL, or start a local one with `es-xmodal up`",
        )
    if len({one.partition(":")[0] for one in urls}) > 1:
        raise SettingsError(
            "url: some nodes are named with http:// and some with https://", hint="write all of them alike"
        )
    return urls


def _with_port(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"url: {without_credentials(url)} is not an address: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(
            f"url: {without_credentials(url)} is not an address", hint="write it as https://HOST:PORT"
        )
    if port is None:
        port = 443 if parts.scheme == "https" else 9200
        return parts._replace(netloc=f"{parts.netloc.rstrip(':')}:{port}").geturl().rstrip("/")
    return url.rstrip("/")


def _tls_options(settings: ConnectionSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"verify_certs": settings.verify_certs}
    if not settings.verify_certs:
        options["ssl_show_warn"] = False  # the caller asked for it; a warning at each start helps nobody
    if settings.ca_certs is not None:
        if not settings.ca_certs.is_file():
            raise SettingsError(f"ca_certs: {settings.ca_certs} is not a file")
        options["ca_certs"] = str(settings.ca_certs)
    return options
