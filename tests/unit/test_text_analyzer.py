from __future__ import annotations

import concurrent.futures
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from es_xmodal.errors import SettingsError
from es_xmodal.text import SEPARATOR, Analyzer, TextOptions
from es_xmodal.text.options import MAX_TERM_CHARS

pytestmark = pytest.mark.unit

DEFAULT = Analyzer()
OTHERS = [
    Analyzer(TextOptions(query_mode="precise")),
    Analyzer(TextOptions(stemming=False, fold_traditional=False, stop_words=())),
    Analyzer(TextOptions(user_dictionary=["神仙水", "sk-ii神仙水 10 n", "四件套 0"], stem_language="german")),
]
PARTS = """
iPhone 14 pro 15 ml 350 1.5 L 200*230cm × x - . , / & ' + % # _ ™ ½ 手机壳 保温杯 復古 乾 乾隆 瞭 的 the T恤
カバー ﾊﾞ กระเป๋า हिन्दी 가방 🎂 👨‍👩‍👧 é ﬁ ß İ ١٢ １５ 1,299.00 GB18401-2010
"""
ODD = [" ", "\n", "e\u0301", "\x00", "\x1f", "\x85", "\u200b", "\ud83d", "\u2044", "\u3000"]
SHOP_TEXT = st.lists(st.sampled_from([*PARTS.split(), *ODD])).map("".join)
ANY_TEXT = st.one_of(st.text(max_size=60), st.text(st.characters(), max_size=30), SHOP_TEXT)


def terms(text: str, analyzer: Analyzer = DEFAULT) -> set[str]:
    return {token.term for token in analyzer.tokens(text)}


def finds(query: str, title: str, analyzer: Analyzer = DEFAULT) -> set[str]:
    return set(analyzer.query_terms(query)) & terms(title, analyzer)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT, st.sampled_from([DEFAULT, *OTHERS]))
@example("\ud800", DEFAULT)
@example("1,111" * 100 + "T恤", DEFAULT)
@example("é" + "\u0301" * 100, DEFAULT)
def test_any_text(text: str, analyzer: Analyzer) -> None:
    tokens = analyzer.tokens(text)
    for token in tokens:
        assert 0 <= token.start < token.end <= len(text)
        assert 0 < len(token.term) <= MAX_TERM_CHARS
        assert len(token.term.encode("utf-16-le")) // 2 <= 255
        assert SEPARATOR not in token.term
        assert not any(char.isspace() for char in token.term)
        token.term.encode()
    assert [token.start for token in tokens] == sorted(token.start for token in tokens)
    assert tokens == analyzer.tokens(text)
    query = analyzer.query_terms(text)
    assert len(set(query)) == len(query)
    assert bool(query) == bool(tokens)
    indexed = analyzer.index_text([text])[0]
    assert indexed.split(SEPARATOR) == [token.term for token in tokens] or not tokens
    assert indexed.split() == indexed.split(SEPARATOR) or not tokens
    assert set(query) <= set(indexed.split(SEPARATOR))


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT, st.lists(st.text(max_size=3), max_size=3), st.randoms(use_true_random=False))
def test_marks_go_around_the_original(text: str, more: list[str], random: object) -> None:
    query = [*DEFAULT.query_terms(text)[::2], *more]
    marked = DEFAULT.mark(text, query, pre="\ue000", post="\ue001")
    if "\ue000" in text or "\ue001" in text:
        return
    assert marked.replace("\ue000", "").replace("\ue001", "") == text
    assert marked.count("\ue000") == marked.count("\ue001")
    assert "\ue001\ue000" not in marked
    if DEFAULT.query_terms(text):
        assert "\ue000" in marked


def test_marks_are_joined_and_the_text_stays_unspaced() -> None:
    assert DEFAULT.mark("红色手机壳iPhone-14 Pro", DEFAULT.query_terms("手机壳 iphone14")) == (
        "红色<em>手机壳iPhone-14</em> Pro"
    )
    assert DEFAULT.mark("復古皮革手提包", ["复古", "手提包"], pre="[", post="]") == "[復古]皮革[手提包]"
    assert (
        DEFAULT.mark("ｉＰｈｏｎｅ　１５", DEFAULT.query_terms("iphone 15")) == "<em>ｉＰｈｏｎｅ　１５</em>"
    )
    assert DEFAULT.mark("mugs", []) == "mugs"


def test_marks_can_escape_the_text() -> None:
    text = "<b>Mug</b> & 'cup'"
    assert DEFAULT.mark(text, ["mug"]) == "<b><em>Mug</em></b> & 'cup'"
    assert DEFAULT.mark(text, ["mug"], escape=True) == "&lt;b&gt;<em>Mug</em>&lt;/b&gt; &amp; &#x27;cup&#x27;"


@pytest.mark.parametrize(
    "spellings",
    [
        ("iPhone-14", "iphone14", "iPhone 14", "IPHONE 14", "ｉＰｈｏｎｅ１４"),
        ("iphone15pro", "iphone 15 pro", "iPhone-15 Pro", "iphone15 pro", "iphone 15pro"),
        ("350ml", "350 ml", "350ＭＬ", "350 mL"),
        ("1.5L", "1.5 l", "１.５Ｌ"),
        ("GB18401-2010", "GB18401", "gb 18401-2010", "gb18401 2010"),
        ("4K", "4k", "4 K"),
        ("M185", "m-185", "m 185"),
        ("USB-C", "usbc", "usb c", "USB C"),
        ("type-c", "typec", "Type C"),
        ("T-shirts", "tshirt", "t shirt", "T-Shirt"),
        ("100%", "１００％"),
        ("200*230cm", "200x230cm", "200 x 230 cm", "200×230", "200cm*230cm", "200 * 230CM"),
        ("men's shoes", "mens shoe", "men’s shoes"),
        ("wi-fi", "wifi", "Wi‑Fi"),
        ("1,299.00", "1299.00"),
        ("978-7-111-12345-6", "9787111123456"),
        ("Crème Brûlée", "creme brulee", "cre\u0300me bru\u0302le\u0301e"),
        ("復古手提包", "复古手提包"),
        ("ﾊﾞｯｸﾞ", "バッグ"),
        ("1½", "1 1/2"),
        ("running shoes", "run shoe"),
    ],
)
def test_each_spelling_finds_the_others(spellings: tuple[str, ...]) -> None:
    for query in spellings:
        for title in spellings:
            found = finds(query, f"红色 {title} 新款")
            assert found, (query, title)
            longest = max(DEFAULT.query_terms(query), key=len)
            assert any(len(term) >= min(3, len(longest)) for term in found) or len(longest) < 3, (
                query,
                title,
                found,
            )


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("4k", "iphone 4 32"),
        ("23", "2-3天"),
        ("15l", "1.5L"),
        ("ml", "350ml"),
        ("s", "men's"),
        ("tm", "Nike™"),
        ("11/2", "1½"),
    ],
)
def test_what_must_not_meet(query: str, title: str) -> None:
    assert not finds(query, title) - {"1", "2"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200*230cm/220*240cm", {"200x230cm", "220x240cm", "200x230", "230cm", "240"}),
        ("1.5米+1.8米通用", {"1.5", "1.8", "米", "通用"}),
        ("100%棉", {"100%", "100", "棉"}),
        ("T恤 A4纸", {"t恤", "a4", "纸"}),
        ("SK-II神仙水", {"skii", "神仙"}),
        ("c++ C# h&m", {"c++", "c#", "c", "hm"}),
        ("USB3.0 64GB ipad64gb", {"usb3.0", "usb", "3.0", "64gb", "ipad"}),
        ("🎂生日蛋糕👨‍👩‍👧👍🏽", {"🎂", "生日", "蛋糕", "生日蛋糕", "👨", "👍"}),
        ("カメラケース", {"カメラケース", "カメ", "ケー"}),
        ("платье ЖЕНСКОЕ", {"платье", "женское"}),
        ("กระเป๋าหนัง", {"กร", "เป๋"}),
        ("हिन्दी", {"हिन्दी"}),
        ("가방", {"가방"}),
        ("١٢٣", {"123"}),
        ("㎏ ① m²", {"kg", "1", "m2"}),
        ("𠮷野家", {"𠮷"}),
        ("保温\x00杯", {"保温杯"}),
        ("a\u200bb", {"ab"}),
    ],
)
def test_terms(text: str, expected: set[str]) -> None:
    assert expected <= terms(text)


@pytest.mark.parametrize("text", ["", " ", "???", "…—！", "\x00\x1f", "\u200b"])
def test_nothing_to_search_for(text: str) -> None:
    assert DEFAULT.tokens(text) == []
    assert DEFAULT.query_terms(text) == []
    assert DEFAULT.index_text([text]) == [""]


def test_spans_are_places_in_the_original() -> None:
    text = "ﬁne½ \u200b保\u200b温杯 Ca\u0301fe"
    spans = {token.term: text[token.start : token.end] for token in DEFAULT.tokens(text)}
    assert spans["保温杯"] == "保\u200b温杯"
    assert spans["cafe"] == "Ca\u0301fe"
    assert spans["fine"] == "ﬁne"


def test_stop_words_are_dropped_from_queries_only_and_not_when_alone() -> None:
    assert DEFAULT.query_terms("the mug for 我的 办公室") == ["mug", "办公", "办公室", "公室"]
    assert "the" in terms("the mug")
    assert DEFAULT.query_terms("the of") == ["the", "of"]
    assert DEFAULT.query_terms("被") == ["被"]
    assert Analyzer(TextOptions(stop_words=["Mugs"])).query_terms("the mug") == ["the"]


def test_folding_knows_words() -> None:
    assert {"乾隆", "干净"} <= terms("乾隆 乾淨")
    unfolded = Analyzer(TextOptions(fold_traditional=False))
    assert "复古" not in terms("復古", unfolded)


def test_query_modes() -> None:
    assert "手提" in DEFAULT.query_terms("手提包")
    assert OTHERS[0].query_terms("手提包") == ["手提包"]


def test_the_shops_words_stay_whole_and_in_their_own_analyzer(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\ufeff# ours\n\n香薰蜡烛 300 n\n云感舒柔\nSK-II神仙水\n四件套 0\n", encoding="utf-8")
    own = Analyzer(TextOptions(user_dictionary=file))
    assert {"香薰蜡烛", "云感舒柔", "sk-ii神仙水"} <= terms("香薰蜡烛云感舒柔 sk-ii神仙水", own)
    assert "四件套" not in terms("四件套", own)
    assert not {"香薰蜡烛", "云感舒柔"} & terms("香薰蜡烛云感舒柔")
    assert "四件套" in terms("四件套") or {"四", "件套"} & terms("四件套")


def test_the_dictionary_may_be_traditional_and_wide() -> None:
    own = Analyzer(TextOptions(user_dictionary=["雲感舒柔", "ＡＢ雲"]))
    assert {"云感舒柔", "ab云"} <= terms("雲感舒柔 AB云", own)


def test_bad_options(tmp_path: Path) -> None:
    (tmp_path / "gb.txt").write_bytes("香薰".encode("gb18030"))
    with pytest.raises(SettingsError, match="UTF-8"):
        Analyzer(TextOptions(user_dictionary=tmp_path / "gb.txt"))
    with pytest.raises(SettingsError, match="cannot be read"):
        Analyzer(TextOptions(user_dictionary=tmp_path / "none.txt"))
    with pytest.raises(SettingsError, match="klingon"):
        Analyzer(TextOptions(stem_language="klingon"))


def test_fingerprint_covers_every_option(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("云感舒柔\n", encoding="utf-8")
    several = [
        TextOptions(),
        TextOptions(query_mode="precise"),
        TextOptions(stemming=False),
        TextOptions(stem_language="german"),
        TextOptions(fold_traditional=False),
        TextOptions(stop_words=()),
        TextOptions(user_dictionary=["云感舒柔"]),
        TextOptions(user_dictionary=["云感舒柔 5"]),
    ]
    prints = [Analyzer(options).fingerprint for options in several]
    assert len(set(prints)) == len(prints)
    assert prints[0] == DEFAULT.fingerprint
    assert all(item.startswith("text-") and len(item) == 21 and int(item[5:], 16) >= 0 for item in prints)
    assert Analyzer(TextOptions(user_dictionary=file)).fingerprint == prints[6]
    assert Analyzer(TextOptions(user_dictionary=[])).fingerprint == prints[0]


@pytest.mark.parametrize(
    "text",
    [
        "旅行收纳袋大容量" * 2500,
        "复" * 20_000,
        "x" * 20_000,
        "a1-" * 7000,
        "1x" * 10_000,
        "1." * 10_000,
        "1,111" * 4000,
        "e\u0301" * 10_000,
        "e" + "\u0301" * 20_000,
        "カ" * 20_000,
        "ก" * 20_000,
        "a" * 20_000 + "杯",
        "200 x " * 4000,
        "\ud800" * 20_000,
    ],
    ids=lambda text: text[:4].encode("ascii", "backslashreplace").decode(),
)
def test_texts_of_twenty_thousand_letters(text: str) -> None:
    """Quadratic work here would take minutes; the suite would be seen to hang."""
    tokens = DEFAULT.tokens(text)
    assert all(len(token.term) <= MAX_TERM_CHARS for token in tokens)
    assert set(DEFAULT.query_terms(text)) <= {token.term for token in tokens}


def test_threads_get_the_same_answer() -> None:
    texts = [f"红色手机壳 running shoes {n}ml 復古手提包" for n in range(200)]
    alone = DEFAULT.index_text(texts)
    fresh = Analyzer()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: fresh.index_text([text])[0], texts)) == alone


def test_jieba_is_lazy_quiet_and_its_global_dictionary_untouched() -> None:
    code = """
import sys, tempfile, pathlib
from es_xmodal.text import Analyzer, TextOptions
analyzer = Analyzer(TextOptions(user_dictionary=["云感舒柔"]))
assert analyzer.fingerprint and analyzer.tokens("red mug 350ml")
assert "jieba" not in sys.modules
assert "云感舒柔" in analyzer.query_terms("云感舒柔")
import jieba
assert not jieba.dt.initialized
assert not list(pathlib.Path(tempfile.gettempdir()).glob("jieba*"))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={
            "TMPDIR": str(Path(sys.executable).parent / "none"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


def test_the_same_terms_in_another_process() -> None:
    text = "復古皮革手提包 iPhone-14 Pro 200*230cm 四件套"
    code = f"""
from es_xmodal.text import Analyzer
analyzer = Analyzer()
print(ascii((analyzer.fingerprint, analyzer.index_text([{text!r}])[0])))
"""
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout.strip() == ascii((DEFAULT.fingerprint, DEFAULT.index_text([text])[0]))
