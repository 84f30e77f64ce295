"""The HTTP connection: httpx's client over httpcore's pool, with every address checked when it is dialled.

httpcore asks its network backend for each new connection, also the one that a redirect leads to, so that
there is no way past the check, and TLS still verifies the name of the host.
"""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

import httpcore
import httpx

from es_xmodal.media.addresses import Resolve, checked_addresses, system_resolve


class CheckedBackend(httpcore.SyncBackend):
    """Dials addresses that were checked.

    Args:
        allowed: hosts that may have any address.
        resolve: how names become addresses.
    """

    def __init__(self, allowed: Collection[str], resolve: Resolve = system_resolve) -> None:
        self._allowed = frozenset(host.lower() for host in allowed)
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[typing.Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check, and connect to the first address that answers.

        Raises:
            PictureError: the host does not exist or is not public.
            httpcore.ConnectError: no address answers.
        """
        addresses = checked_addresses(host, port, allowed=self._allowed, resolve=self._resolve)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses[:4]:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(self, *args: typing.Any, **options: typing.Any) -> httpcore.NetworkStream:
        """Never."""
        raise httpcore.UnsupportedProtocol("pictures do not come through sockets of this machine")


class _Stream(httpx.SyncByteStream):
    """The body of an answer; closing it gives the connection back."""

    def __init__(self, stream: typing.Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with as_httpx_errors():
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


class CheckedTransport(httpx.BaseTransport):
    """What `httpx.HTTPTransport` does, over `CheckedBackend`; proxies of the environment are not used.

    Args:
        backend: dials.
        connections: open at once, in all.
        verify: certificates, as `httpx.Client` takes it.
    """

    def __init__(self, backend: CheckedBackend, *, connections: int, verify: bool | str = True) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(verify=verify, trust_env=False),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=15.0,
            network_backend=backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the body of the answer is read as the caller reads it."""
        url = request.url
        with as_httpx_errors():
            answer = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Stream(answer.stream), extensions=answer.extensions
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


@contextmanager
def as_httpx_errors() -> Iterator[None]:
    """Turn httpcore's errors into httpx's, which are what callers know."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise httpx.TimeoutException(str(error) or "timed out") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise httpx.TransportError(str(error) or type(error).__name__) from error
