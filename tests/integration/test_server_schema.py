"""The service keeps what its OpenAPI description says, for calls that nobody thought of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from es_xmodal.encoders import registry
from es_xmodal.server.factory import create_app
from es_xmodal.server.options import ServerOptions
from es_xmodal.settings import load_settings
from es_xmodal.shop import Shop
from tests.support.encoders import HashEncoder
from tests.support.nodes import delete_everything_named
from tests.support.shops import ingest_shop, write_shop

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def app(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    prefix = f"t{os.urandom(5).hex()}-"
    index = f"{prefix}described"
    ingest_shop(es_url, write_shop(tmp_path_factory.mktemp("shop")), index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._LOADERS, "hash", lambda argument, options: HashEncoder())
        shop = Shop(settings=load_settings(url=es_url), index=index)
        yield create_app(shop, ServerOptions(max_body_bytes=200_000))
        shop.close()
    delete_everything_named(es_url, prefix)


def operations(app: FastAPI) -> Iterator[Any]:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for result in schema.get_all_operations():
        yield result.ok()  # type: ignore[union-attr]  # an invalid operation fails here, as it should


def test_no_call_breaks_the_description(app: FastAPI) -> None:
    tried = []
    for operation in operations(app):

        @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            answer = case.call()
            assert answer.status_code < 500, answer.text
            case.validate_response(answer, checks=CHECKS)

        call()
        tried.append(operation.label)
    assert len(tried) >= 11
