"""Pictures and texts on which an export is compared with its source; the same every time."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image

from es_xmodal.encoders.base import MAX_TEXT_CHARS, clip_text

_SIZES = (
    (224, 224),
    (640, 480),
    (300, 451),
    (97, 33),
    (31, 64),
    (900, 300),
    (1, 1),
    (512, 768),
    (1024, 1023),
)
_TEXTS = (
    "red running shoes", "a photo of a mug", "iPhone 15 Pro Max 256GB, Blue Titanium", "", "   ", "a",
    "男士蓝色纯棉衬衫", "不锈钢电水壶 1.5L 家用", "红色的苹果手机", "儿童跑步鞋，透气", "運動鞋 黑色",
    "Zapatillas rojas para niños", "Café crème brûlée", "grüne Gießkanne für den Garten", "красные кроссовки",
    "أحذية رياضية حمراء", "赤いスニーカー", "빨간 운동화", "लाल जूते", "κόκκινα παπούτσια", "נעליים אדומות",
    "👟 sneakers 🔥🔥", "👨‍👩‍👧‍👦 family", "🇨🇳 flag", "e\u0301 decomposed", "ＦＵＬＬ ｗｉｄｔｈ １２３",
    "it's the shop's, isn't it? they'll've", "DON'T SHOUT", "snake_case and kebab-case", "A4 80g/m² 500×",
    "50% off!!! $19.99 (was €24,90)", "&lt;b&gt;bold&lt;/b&gt; &amp;amp; more", "â€œmojibakeâ€\u009d",
    "tab\tand\nnewline", "\u200bzero\u200bwidth", "“curly” ‘quotes’ — dash…", "SKU: X-1200/b_77",
    "½ kg of ﬁne ﬂour", "H₂O and E=mc²", "a.b.c...d", "12345678901234567890", "ß ẞ ŉ İstanbul ı",
    "mixed 中文 and English 手机壳 for iPhone", "\u3000ideographic\u3000space", "'s 't 're <tag> </w>",
)  # fmt: skip


def sample_pictures(count: int) -> list[Image.Image]:
    """Return pictures of many shapes and sizes: smooth colours, edges and noise."""
    draw = np.random.default_rng(11)
    return [_picture(draw, *_SIZES[number % len(_SIZES)]) for number in range(count)]


def sample_texts() -> list[str]:
    """Return texts of many languages, scripts and lengths, as an encoder gets them."""
    draw = random.Random(11)
    words = " ".join(_TEXTS).split()
    mixed = [" ".join(draw.choices(words, k=draw.randint(2, 60))) for _ in range(60)]
    letters = "".join(
        chr(code) for code in (*range(33, 592), *range(0x4E00, 0x4E80), *range(0x1F300, 0x1F380))
    )
    noise = ["".join(draw.choices(letters + " " * 60, k=draw.randint(1, 200))) for _ in range(60)]
    long = ["red shoes " * 2000, "苹果" * 5000, "x" * MAX_TEXT_CHARS, "👟" * 400, " ".join(mixed)]
    return [clip_text(text) for text in (*_TEXTS, *mixed, *noise, *long)]


def _picture(draw: np.random.Generator, width: int, height: int) -> Image.Image:
    """A gradient between two colours, a few rectangles, and a little noise."""
    across = np.linspace(0, 1, width)[None, :, None]
    down = np.linspace(0, 1, height)[:, None, None]
    first, second, third = draw.uniform(0, 255, (3, 3))
    pixels = first * (1 - across) + second * across * (1 - down) + third * across * down
    for _ in range(6):
        left, top = int(draw.integers(0, width)), int(draw.integers(0, height))
        right, bottom = left + int(draw.integers(1, width + 1)), top + int(draw.integers(1, height + 1))
        pixels[top:bottom, left:right] = draw.uniform(0, 255, 3)
    pixels = pixels + draw.normal(0, 12, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
