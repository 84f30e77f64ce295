"""Words that say nothing about a product. A query drops them, unless nothing else is in it."""

from __future__ import annotations

from typing import Final

_ENGLISH = """
a an and any are as at be but by can do find for from has have i in is it its looking me my need of on or our
please show so some that the their them then there these they this those to want was we were what which will
with you your
"""

# 被 and 给 are grammatical words too, but 被 is a quilt in a shop.
_CHINESE = """
的 了 和 与 及 或 在 是 有 也 都 就 而 把 给 之 以 等 还 很 吗 呢 吧 啊 呀 哦
我 你 他 她 它 们 我们 你们 他们 这 那 这个 那个 这些 那些 一个 一种 一款 比较 用的 适合
想 想要 要 需要 请 请问 找 寻找 帮 帮我 买 什么 怎么 哪个 哪些
"""

STOP_WORDS: Final = frozenset((_ENGLISH + _CHINESE).split())
