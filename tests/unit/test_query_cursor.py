"""The cursor of pages that hold."""

from __future__ import annotations

import base64
import json

import pytest

from es_xmodal.errors import QueryError
from es_xmodal.query.cursor import Held, plan_digest, read_cursor, write_cursor
from tests.support.plans import plan_for

pytestmark = pytest.mark.unit


def test_a_cursor_carries_what_it_is_held_on() -> None:
    plan = plan_for()
    held = Held(index="shop-v0001", point="abc")
    read = read_cursor(write_cursor(plan, offset=10, held=held), hold=True)
    assert (read.digest, read.offset, read.held) == (plan_digest(plan), 10, held)
    free = write_cursor(plan, offset=10)
    assert read_cursor(free).held is None
    with pytest.raises(QueryError, match="was not held"):
        read_cursor(free, hold=True)


@pytest.mark.parametrize("state", [["shop"], ["shop", 3], ["", "abc"], ["a", "b", "c"]])
def test_a_damaged_state_is_refused(state: list[object]) -> None:
    text = json.dumps([2, "0" * 16, 10, *state])
    with pytest.raises(QueryError) as caught:
        read_cursor(base64.urlsafe_b64encode(text.encode()).decode())
    assert caught.value.field == "cursor"
