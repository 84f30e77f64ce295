"""Texts about anything that a shop may sell; their mean is what all texts of an encoder share."""

from __future__ import annotations

from typing import Final

ANYTHING: Final = (
    "red running shoes", "wireless headphones", "oak dining table", "fresh orange juice", "mystery novel",
    "cordless drill", "baby stroller", "face cream", "mountain bike", "garden hose", "gold necklace",
    "laptop computer", "winter coat", "coffee machine", "dog food", "acoustic guitar", "yoga mat",
    "desk lamp", "car tyre", "board game", "sliced cheese", "shampoo for dry hair", "sunglasses",
    "bed sheets", "paint brush", "phone case", "blue jeans", "tea pot", "hiking tent", "birthday card",
    "vitamin tablets", "office chair", "kitchen knife", "watch with leather strap", "potted plant",
    "football", "printer ink", "chocolate bar", "bath towel", "toy train",
    "红色跑步鞋", "无线耳机", "实木餐桌", "鲜榨橙汁", "推理小说", "电钻", "婴儿推车", "面霜",
    "山地自行车", "金项链", "笔记本电脑", "冬季外套", "咖啡机", "狗粮", "吉他",
    "瑜伽垫", "台灯", "洗发水", "床单", "手机壳",
)  # fmt: skip
