"""The files of the page: both languages say everything, and every word is one that exists."""

from __future__ import annotations

import re

import pytest

from es_xmodal.server.pages import page_files

pytestmark = pytest.mark.unit

FILES = {name: file.body.decode() for name, file in page_files().items()}
KEY = re.compile(r'(?:^|[{,\s])(?:"([\w.]+)"|(\w+)): "((?:[^"\\]|\\.)*)"', re.MULTILINE)


def texts() -> dict[str, dict[str, str]]:
    body = FILES["text.js"]
    english, chinese = body[body.index("  en: {") : body.index("  zh: {")], body[body.index("  zh: {") :]
    chinese = chinese[: chinese.index("\n};")]
    return {
        language: {one[1] or one[2]: one[3] for one in KEY.finditer(part)}
        for language, part in (("en", english), ("zh", chinese))
    }


def test_both_languages_say_everything() -> None:
    found = texts()
    assert len(found["en"]) > 100
    assert found["en"].keys() == found["zh"].keys()
    for key, text in found["en"].items():
        assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", found["zh"][key])), key
    no_words = ("language", "attributeChip")  # the other language's own name; a name and a value
    chinese = {key: text for key, text in found["zh"].items() if key not in no_words}
    assert all(re.search("[\u4e00-\u9fff]", text) for text in chinese.values())


def test_every_word_that_is_shown_exists() -> None:
    used = set(re.findall(r'data-t(?:-\w+)?="(\w+)"', FILES["index.html"]))
    for name, body in FILES.items():
        if name.endswith(".js"):
            used |= set(re.findall(r'\bt\("([\w.]+)"', body))
    assert len(used) > 60
    assert used <= texts()["en"].keys()


def test_texts_never_become_markup() -> None:
    code = "\n".join(body for name, body in FILES.items() if name.endswith(".js"))
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert forbidden not in code
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)[\w.]+", "\n".join(FILES.values()))


def test_each_file_is_loaded() -> None:
    for name in FILES:
        if name not in ("index.html",):
            assert f"/page/{name}" in FILES["index.html"], name
