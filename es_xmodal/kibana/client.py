"""The one call to Kibana: `POST /api/saved_objects/_import`, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from es_xmodal.cluster.client import without_credentials
from es_xmodal.errors import KibanaError, SettingsError

if TYPE_CHECKING:
    import httpx
    from pydantic import SecretStr

MAX_BYTES: Final = 10 * 1024 * 1024
"""Of an answer; a longer one is none of Kibana's."""
_CONNECT_S: Final = 10.0
_CREDENTIALS: Final = (
    "check ES_XMODAL_KIBANA_API_KEY, or ES_XMODAL_KIBANA_USERNAME and ES_XMODAL_KIBANA_PASSWORD"
)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """Where Kibana is, and who asks; credentials are never shown."""

    url: str
    api_key: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_certs: Path | None = None
    verify_certs: bool = True
    timeout_s: float = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """One object that was imported."""

    type: str
    id: str
    title: str
    replaced: bool
    """There was one of that id before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """One object that was not."""

    type: str
    id: str
    title: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What Kibana did."""

    done: tuple[Done, ...]
    failed: tuple[Failed, ...]


def import_objects(connection: Connection, data: bytes, *, space: str, overwrite: bool) -> Imported:
    """Let Kibana import saved objects.

    Args:
        connection: where, and who asks.
        data: see `es_xmodal.kibana.export.to_ndjson`.
        space: its id; empty: the default one.
        overwrite: replace objects of the same ids.

    Returns:
        What became of each object.

    Raises:
        SettingsError: the address cannot be used.
        KibanaError: there is no Kibana, it refuses, or there is no such space.
    """
    import httpx

    url = _checked(connection.url)
    prefix = f"/s/{quote(space, safe='')}" if space else ""
    try:
        with _http(connection, url) as http:
            if space:
                _check_space(http, url, space)
            with http.stream(
                "POST",
                f"{url}{prefix}/api/saved_objects/_import",
                params={"overwrite": "true" if overwrite else "false"},
                files={"file": ("es-xmodal.ndjson", data, "application/ndjson")},
            ) as response:
                return _read_import(_json(response, url))
    except httpx.TimeoutException:
        raise KibanaError(
            f"Kibana at {url} did not answer within {connection.timeout_s:g} s",
            hint="check the address, or allow more seconds with ES_XMODAL_TIMEOUT_S",
        ) from None
    except httpx.HTTPError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise KibanaError(
            f"Kibana at {url} cannot be reached: {reason}", hint="check the address, and that it runs"
        ) from None


def _checked(url: str) -> str:
    """The address without a last slash; what stands before an @ is no place for a secret."""
    shown = without_credentials(url)
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in url or parts.query or parts.fragment:
        raise SettingsError(
            f"kibana_url: {shown} is not an address of a Kibana",
            hint="write it as https://HOST:PORT, with its base path where it has one, and no user in it",
        )
    return url.rstrip("/")


def _http(connection: Connection, url: str) -> httpx.Client:
    import httpx

    headers = {"kbn-xsrf": "true", "Accept": "application/json", "Accept-Encoding": "identity"}
    auth: httpx.BasicAuth | None = None
    if connection.api_key is not None:
        headers["Authorization"] = f"ApiKey {_header(connection.api_key)}"
    elif connection.username is not None and connection.password is not None:
        auth = httpx.BasicAuth(connection.username, connection.password.get_secret_value())
    return httpx.Client(
        headers=headers,
        auth=auth,
        timeout=httpx.Timeout(connection.timeout_s, connect=min(_CONNECT_S, connection.timeout_s)),
        follow_redirects=False,  # credentials must not follow to another host
        trust_env=urlsplit(url).hostname not in _LOOPBACK,
        verify=_trust(connection, url),
    )


def _header(secret: SecretStr) -> str:
    key = secret.get_secret_value().strip()
    if not (key.isascii() and key.isprintable()):
        raise SettingsError(
            "kibana_api_key holds characters that no key has", hint="set ES_XMODAL_KIBANA_API_KEY again"
        )
    return key


def _trust(connection: Connection, url: str) -> Any:
    """Certificates that are trusted: those of the file, else the machine's."""
    if url.startswith("http:") or not connection.verify_certs:
        return False
    if connection.ca_certs is None:
        return True
    import ssl

    try:
        return ssl.create_default_context(cafile=str(connection.ca_certs))
    except OSError as error:
        raise SettingsError(f"ca_certs: {connection.ca_certs} cannot be used: {error}") from None


def _check_space(http: httpx.Client, url: str, space: str) -> None:
    """Kibana would import into a space that nobody can see."""
    with http.stream("GET", f"{url}/api/spaces/space/{quote(space, safe='')}") as response:
        if response.status_code == HTTPStatus.NOT_FOUND and "kbn-name" in response.headers:
            raise KibanaError(f"Kibana at {url} has no space {space!r}", hint="name another one with --space")
        _json(response, url)


def _json(response: httpx.Response, url: str) -> Mapping[str, Any]:
    """The answer, where it is a good one of Kibana's."""
    import orjson

    status, text = response.status_code, b""
    if response.is_redirect:
        where = response.headers.get("location", "")[:120]
        raise KibanaError(
            f"{url} redirects to {where!r}, which is not followed",
            hint=f"write the final address, with Kibana's base path; or {_CREDENTIALS}",
        )
    for chunk in response.iter_bytes():
        text += chunk
        if len(text) > MAX_BYTES:
            raise KibanaError(
                f"the answer of {url} has more than {MAX_BYTES} bytes", hint="check the address"
            )
    try:
        answer: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        answer = None
    if "x-elastic-product" in response.headers and "kbn-name" not in response.headers:
        raise KibanaError(
            f"{url} is an Elasticsearch, not a Kibana", hint="Kibana has another port, often 5601"
        )
    if status != HTTPStatus.OK:
        raise _refusal(status, answer, url)
    if not isinstance(answer, dict):
        raise KibanaError(f"{url} answers, but is no Kibana", hint="check the address")
    return answer


def _refusal(status: int, answer: Any, url: str) -> KibanaError:
    said = answer.get("message") if isinstance(answer, dict) else None
    why = f": {' '.join(str(said).split())[:400]}" if said else ""
    if status == HTTPStatus.UNAUTHORIZED:
        return KibanaError(f"Kibana at {url} does not accept these credentials (401)", hint=_CREDENTIALS)
    if status == HTTPStatus.FORBIDDEN:
        return KibanaError(
            f"Kibana at {url} knows these credentials, and they may not do this (403){why}",
            hint="ask for a role with `Saved Objects Management: all` in this space",
        )
    if status == HTTPStatus.NOT_FOUND:
        return KibanaError(
            f"{url} has no saved objects to import to (404)", hint="is it a Kibana? write its base path too"
        )
    if status == HTTPStatus.CONFLICT:
        return KibanaError(
            f"Kibana at {url} is changing these objects right now (409){why}",
            hint="run the same command again",
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return KibanaError(
            f"Kibana at {url} is not ready or fails ({status}){why}",
            hint="wait until its status page is green, then run the same command again",
        )
    return KibanaError(f"Kibana at {url} answered {status}{why}")


def _read_import(answer: Mapping[str, Any]) -> Imported:
    if not isinstance(answer.get("success"), bool):
        raise KibanaError("the answer does not say whether the import went well", hint="check the address")
    done = [
        Done(
            type=str(one.get("type")),
            id=str(one.get("destinationId") or one.get("id")),
            title=_title(one),
            replaced=bool(one.get("overwrite")),
        )
        for one in answer.get("successResults") or []
    ]
    failed = [
        Failed(
            type=str(one.get("type")),
            id=str(one.get("id")),
            title=_title(one),
            reason=_reason(one.get("error") or {}),
        )
        for one in answer.get("errors") or []
    ]
    return Imported(done=tuple(done), failed=tuple(failed))


def _title(one: Mapping[str, Any]) -> str:
    meta = one.get("meta") or {}
    return str(meta.get("title") or one.get("title") or one.get("id"))


def _reason(error: Mapping[str, Any]) -> str:
    """The error types that the API's description names."""
    kind = str(error.get("type"))
    if kind == "conflict":
        return "it is there already; --overwrite replaces it"
    if kind == "ambiguous_conflict":
        return "several objects came from it; delete those that are too many, then import again"
    if kind == "missing_references":
        lacking = (f"{one.get('type')} {one.get('id')}" for one in error.get("references") or [])
        return f"it needs what is not there: {', '.join(lacking)}"
    if kind == "unsupported_type":
        return "this Kibana knows no object of that type; 8.15 and later do"
    message = " ".join(str(error.get("message") or "no reason given").split())[:400]
    return f"{message} ({error['statusCode']})" if "statusCode" in error else message
