"""Profiles: every key has an effect, wrong ones are refused by name, classes choose the row of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from es_xmodal.app import load_profile
from es_xmodal.errors import SettingsError
from es_xmodal.query.compose import compose, parts_of
from es_xmodal.query.cursor import check_cursor, plan_digest
from es_xmodal.query.model import OWN_FUSIONS, Fusion, Query
from es_xmodal.query.plan import Found, Plan, build_plan
from es_xmodal.query.profile import CLASSES, DEFAULT_PROFILE, LEGS_OF, OPTIONAL, Profile
from es_xmodal.query.profile_file import parse_profile, profile_json, write_profile
from es_xmodal.search.signals import make_signals
from tests.support.cli import WRONG, Cli, refused
from tests.support.encoders import HashEncoder
from tests.support.plans import ocr_view, signals, view

pytestmark = pytest.mark.unit

WORDS = {"short": "mug", "text": "red big mug", "long": "a very red and big mug", "identifier": "AW-12"}


def read(text: str) -> Profile:
    return parse_profile(f"format = 1\n{text}", where="mine.toml")


def plan_of(profile: Profile, what: str = "text", fusion: Fusion = "convex", **options: Any) -> Plan:
    """The plan of a query of this class."""
    text = WORDS.get(what, "red mug" if what == "text+image" else "")
    pictures = ("p.jpg",) if "image" in what else ()
    query = Query(text=text, pictures=pictures, fusion=fusion, **options)
    found = signals(picture=bool(pictures), terms=tuple(text.split()), read=("milk",) if pictures else ())
    return build_plan(query, found, ocr_view(), profile)


def seen(plan: Plan) -> list[Any]:
    """All that a plan sends, with what the legs found."""
    found = {leg.name: Found(ids=("p1",), top=0.6, total=1) for leg in plan.legs}
    return [plan.retrieve.bodies, plan.rank(found)]


def test_the_defaults_are_written_out_and_read_back() -> None:
    written = write_profile(DEFAULT_PROFILE)
    again = parse_profile(written, where="written")
    assert again == DEFAULT_PROFILE
    assert again.label == DEFAULT_PROFILE.label
    assert all(row in written for row in CLASSES)


def test_a_profile_of_one_s_own_is_written_and_read_back() -> None:
    mine = read('name = "mine"\n[weights.boost.long]\nimage = 3\n[weights.convex."text+image"]\ntext = 0\n')
    assert parse_profile(write_profile(mine), where="written") == mine
    assert mine.boost["long"] == {"image": 3}
    assert mine.convex["long"] == DEFAULT_PROFILE.convex["long"]
    assert mine.convex["text+image"] == {**DEFAULT_PROFILE.convex["text+image"], "text": 0}


def leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    return [
        leaf
        for key, value in table.items()
        for leaf in (leaves(value, (*path, key)) if isinstance(value, Mapping) else [(*path, key)])
    ]


def set_key(path: tuple[str, ...], value: str) -> str:
    quoted = [f'"{part}"' for part in path]
    return f"{'.'.join(quoted)} = {value}\n"


NUMBERS = [path for path in leaves(profile_json(DEFAULT_PROFILE)) if len(path) > 1]
SINGLE = {path[0] for path in leaves(profile_json(DEFAULT_PROFILE)) if len(path) == 1}


@pytest.mark.parametrize("path", NUMBERS, ids=".".join)
def test_every_number_of_a_table_changes_what_is_sent(path: tuple[str, ...]) -> None:
    mine = read(set_key(path, "7.5"))
    fusion: Fusion = "convex"
    what = "text"
    if path[0] == "weights":
        _, fusion, what, _ = path  # type: ignore[assignment]
    if path[0] == "pins":
        fusion, what = path[1], "identifier"  # type: ignore[assignment]
    assert seen(plan_of(mine, what, fusion)) != seen(plan_of(DEFAULT_PROFILE, what, fusion))
    assert mine.label.digest != DEFAULT_PROFILE.label.digest


CHANGED: Mapping[str, tuple[str, dict[str, Any]]] = MappingProxyType(
    {
        "max_terms": ("2", {}),
        "relevant_words": ('"2"', {"cutoff": 1.0}),
        "typo_boost": ("0", {"text": "mistyped"}),
        "min_spreads": ("9", {}),
    }
)


@pytest.mark.parametrize("key", CHANGED)
def test_a_number_of_its_own_changes_what_is_sent(key: str) -> None:
    value, options = CHANGED[key]
    query = Query(**{"text": "some red mugs", **options})
    found = signals(terms=tuple(query.text.split()))
    before = build_plan(query, found, view())
    assert seen(build_plan(query, found, view(), read(f"{key} = {value}"))) != seen(before)


@pytest.mark.parametrize(("key", "number", "was"), [("short_terms", 3, "text"), ("long_terms", 3, "text")])
def test_what_is_short_and_long(key: str, number: int, was: str) -> None:
    row = key.partition("_")[0]
    rows = f"[weights.convex.{row}]\nimage = 5\n"
    assert plan_of(read(rows)).query_class == was
    plan = plan_of(read(f"{key} = {number}\n{rows}"))
    assert plan.query_class == row
    base = {"lexical": 0.5 if row == "long" else 0.4, "text": 0.4}
    assert {leg.name: leg.weight for leg in plan.legs} == {**base, "image": 5}


def test_minus_weight_and_composition_change_the_vectors() -> None:
    query = Query(text="red mug", pictures=(_picture(),), minus=("blue",))
    encoder = HashEncoder()
    before = make_signals(query, ("red", "mug"), encoder)
    lighter = make_signals(query, ("red", "mug"), encoder, profile=read("minus_weight = 0.1"))
    assert before.vectors["image"].tolist() != lighter.vectors["image"].tolist()
    late = make_signals(query, ("red", "mug"), encoder, profile=read('composition = "late"'))
    assert "image:picture" in late.vectors
    assert [part.weight for part in parts_of(query, read("minus_weight = 0.1"))][-1] == 0.1
    assert compose((), {}, "early").how == "early"


def _picture() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(file, "PNG")
    return file.getvalue()


def test_no_key_is_forgotten_here() -> None:
    tested = {*CHANGED, "short_terms", "long_terms", "minus_weight", "composition"}
    assert {"format", "name", "digest", *tested} == SINGLE
    assert {path[0] for path in NUMBERS} == {"field_boosts", "original_boosts", "pins", "weights"}


@pytest.mark.parametrize("fusion", OWN_FUSIONS)
@pytest.mark.parametrize("what", CLASSES)
def test_each_class_has_its_row(what: str, fusion: Fusion) -> None:
    table = "boost" if fusion == "boost" else "convex"
    plan = plan_of(read(set_key(("weights", table, what, "image"), "5")), what, fusion)
    assert plan.query_class == what
    weights = {leg.name: leg.weight for leg in plan.legs if leg.name != "identifier"}
    rows = getattr(DEFAULT_PROFILE, table)
    base = rows["text"] if what in OPTIONAL else {}
    assert weights == {**base, **rows.get(what, {}), "image": 5}
    assert set(weights) == set(LEGS_OF[what])


def test_more_words_count_more_by_default() -> None:
    weights = [{leg.name: leg.weight for leg in plan_of(DEFAULT_PROFILE, what).legs} for what in WORDS]
    short, text, long, number = weights
    assert short == text == {"lexical": 0.4, "text": 0.4, "image": 0.2}
    assert long == {"lexical": 0.5, "text": 0.4, "image": 0.1}
    assert number == {"identifier": 2.0, **text}


def test_a_query_s_own_weight_wins_over_its_class() -> None:
    plan = plan_of(read("[weights.convex.short]\nimage = 5\n"), "short", weights={"image": 3.0})
    assert {leg.name: leg.weight for leg in plan.legs}["image"] == 3.0


@pytest.mark.parametrize(
    ("text", "terms", "what"),
    [
        ("4006381333931", ("4006381333931",), "identifier"),
        ("AW-SOF-12", ("aw", "sof", "12"), "identifier"),
        ("500ml", ("500ml",), "short"),
        ("红色手机", ("红色", "手机"), "short"),
        ("!!!", (), "short"),
        ("a b c", ("a", "b", "c"), "text"),
        ("a b c d e f", tuple("abcdef"), "long"),
    ],
)
def test_what_class_words_are_of(text: str, terms: tuple[str, ...], what: str) -> None:
    assert DEFAULT_PROFILE.query_class(Query(text=text), terms) == what
    assert DEFAULT_PROFILE.query_class(Query(text=text, like=("p1",)), terms) == "text+image"


def test_a_field_without_a_boost_is_left_out() -> None:
    plan = plan_of(read('[field_boosts]\ntokens.title = 0\n[original_boosts]\n"titles.*" = 0\n'))
    assert "tokens.title" not in str(plan.retrieve.bodies)
    assert "titles.*" not in str(plan.retrieve.bodies)
    assert "tokens.attributes^1.5" in str(plan.retrieve.bodies)


def test_a_cursor_belongs_to_its_profile() -> None:
    digest = plan_digest(plan_of(DEFAULT_PROFILE))
    check_cursor(digest, plan_of(read('name = "other-name"')))
    with pytest.raises(SettingsError, match="short_terms"):
        read("short_terms = 9")
    with pytest.raises(Exception, match="another query, index or profile"):
        check_cursor(digest, plan_of(read("min_spreads = 4")))


def test_one_and_one_point_zero_are_one_profile() -> None:
    assert read("min_spreads = 3").label.digest == DEFAULT_PROFILE.label.digest
    assert read('name = "x"').label.name == "x"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("typo_bost = 1", "typo_bost: there is no such key (the nearest is typo_boost)"),
        ("[fields_boost]", "fields_boost: there is no such key (the nearest is field_boosts)"),
        ('[field_boosts]\n"tokens.titel" = 1', "tokens.titel: there is no such key (the nearest is field_bo"),
        ("[weights.conves.text]\nimage = 1", "the nearest is weights.convex)"),
        (
            "[weights.convex.shrt]\nimage = 1",
            "weights.convex.shrt: there is no such key (the nearest is weig",
        ),
        ("[weights.convex.text]\nimag = 1", "(the nearest is weights.convex.text.image)"),
        ("[weights.convex.text]\nvisual = 1", "weights.convex.text.visual: there is no such key"),
        ("[pins]\nborda = 1", "pins.borda: there is no such key"),
        (
            "[weights.convex.text]\nimage = -1",
            "weights.convex.text.image: must be a number from 0 to 1000000",
        ),
        ("[weights.convex.text]\nimage = nan", "weights.convex.text.image: must be a number"),
        ("[weights.convex.text]\nimage = true", "weights.convex.text.image: must be a number"),
        ('[weights.convex.text]\nimage = "1"', "weights.convex.text.image: must be a number"),
        (
            "[weights.convex.image]\nimage = 0\nvisual = 0\nocr = 0",
            "weights.convex.image: needs a number above 0",
        ),
        ("[weights.convex.short]\nimage = 0\nlexical = 0\ntext = 0", "weights.convex.short: needs a number"),
        ("[weights.convex]\ntext = 1", "weights.convex.text: must be a table (write [weights.convex.text]"),
        ("field_boosts = 3", "field_boosts: must be a table"),
        ("typo_boost = inf", "typo_boost: must be a number"),
        ("minus_weight = 0", "minus_weight: must be more than 0"),
        ("max_terms = 2.5", "max_terms: must be a whole number from 1 to 1024"),
        ("max_terms = 0", "max_terms: must be a whole number"),
        ("short_terms = 6", "long_terms: must be more than short_terms"),
        ('relevant_words = "most"', "relevant_words: must be a share such as"),
        ("relevant_words = 2", "relevant_words: must be a share such as"),
        ('composition = "both"', "composition: 'both' is not one of early, late"),
        ('name = ""', "name: must be 1 to 64"),
        ("name = [1]", "name: must be 1 to 64"),
        ("composition = []", "composition: [] is not one of"),
        ("typo_boost =", "is not valid TOML"),
        ("typo_boost = " + "9" * 400, "typo_boost: must be a number"),
        ("typo_boost = " + "9" * 5000, "profile mine.toml"),
        ("typo_boost = " + "[" * 50_000, "is not valid TOML"),
        ("field_boosts" + ".x" * 2000 + " = 1", "field_boosts.x.x: there is no such key"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(text)
    assert str(caught.value).startswith("profile mine.toml")
    assert says in str(caught.value)


@pytest.mark.parametrize("first", ["", "format = 2", 'format = "1"', "format = true"])
def test_the_format_is_checked(first: str) -> None:
    with pytest.raises(SettingsError, match=r"^profile x: format: "):
        parse_profile(f"{first}\n", where="x")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'format = 1\nname = "caf\xe9"')
    with pytest.raises(SettingsError, match="cannot be read"):
        load_profile(tmp_path / "latin.toml")


def test_a_profile_made_in_python_is_checked_too() -> None:
    with pytest.raises(SettingsError, match=r"profile: weights.convex.image: is missing"):
        Profile(convex={"text": {"lexical": 1.0}})
    with pytest.raises(SettingsError, match=r"profile: weights.boost.no: there is no such class"):
        Profile(boost={**DEFAULT_PROFILE.boost, "no": {"lexical": 1.0}})
    with pytest.raises(SettingsError, match=r"profile: pins.rrf: is missing"):
        Profile(pins={"convex": 1.0, "boost": 1.0})


def test_show_prints_the_profile_in_use(tmp_path: Path) -> None:
    cli = Cli(home=tmp_path)
    assert cli.here("profile", "show").out == write_profile(DEFAULT_PROFILE)
    (tmp_path / "mine.toml").write_text('format = 1\nname = "mine"\ntypo_boost = 0\n')
    shown = cli.json("profile", "show", "--profile", "mine.toml")
    assert (shown["name"], shown["typo_boost"], shown["min_spreads"]) == ("mine", 0, 3.0)
    by_variable = cli.with_variables(ES_XMODAL_PROFILE="mine.toml")
    assert by_variable.json("profile", "show") == shown
    (tmp_path / "es_xmodal.toml").write_text('profile = "mine.toml"\n')
    assert cli.json("profile", "show") == shown
    refused(cli.here("profile", "show", "--profile", "other.toml"), WRONG, "other.toml", "cannot be read")
