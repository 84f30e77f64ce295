"""Tiny models with seeded random weights, one of each family, in their library's own save format.

`make_tiny("siglip", folder)` writes one and says which SPEC loads it. Sizes differ between hidden state and
projection on purpose: whoever takes the wrong tensor gets the wrong shape or the wrong vector.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIDE = 32
"""Pixels of the square that the picture towers see (Siglip 2 with free sizes: at most 16 patches of 8)."""
_SHOP = """
red blue black white mug shirt running shoes phone case lamp sofa apple water bottle photo of a the for men
women kids and with in green small large coffee cup glass wood steel cotton leather
"""
WORDS = tuple(_SHOP.split())
HAN = "我想要一台红色的苹果手机蓝黑白绿马克杯电水壶男士女衬衫跑步鞋儿童咖啡玻璃木钢棉皮"


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """A model on disk.

    Args:
        family: a name of `FAMILIES`.
        folder: where it lies.
        spec: what loads it.
    """

    family: str
    folder: Path
    spec: str


def make_tiny(family: str, folder: Path) -> TinyModel:
    """Write a tiny model of that family into the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return TinyModel(family=family, folder=folder, spec=FAMILIES[family](folder))


def shake(model: Any, seed: int = 7) -> Any:
    """Give every parameter a value that matters: the libraries' own start gives vectors that all agree."""
    import torch

    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            noise = torch.randn(value.shape, generator=source)
            if "logit" in name:
                continue
            if value.ndim > 1:
                value.copy_(noise * (1.2 / value[0].numel() ** 0.5))
            else:
                value.add_(noise * 0.1)
    return model.eval()


# --- tokenizers -------------------------------------------------------------------------------------------


def _clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The first 1,000 merges of CLIP's own vocabulary, which open_clip carries."""
    from open_clip.tokenizer import bytes_to_unicode, default_bpe

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1:1001]
    merges = [(pair[0], pair[1]) for pair in (line.split() for line in lines)]
    letters = list(bytes_to_unicode().values())
    pieces = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return {piece: number for number, piece in enumerate(pieces)}, merges


def clip_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizerFast

    vocabulary, merges = _clip_vocabulary()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)])
    (folder / "merges.txt").write_text(lines, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 16}), encoding="utf-8"
    )
    tokenizer = CLIPTokenizerFast.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def bert_tokenizer(folder: Path) -> Any:
    from transformers import BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *dict.fromkeys(HAN), *letters]
    pieces += ["##" + letter for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(pieces)) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 24}),
        encoding="utf-8",
    )
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def xlmr_tokenizer(folder: Path) -> Any:
    """A unigram vocabulary as XLM-RoBERTa has it: `▁` before words, Han characters alone."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [
        "▁",
        *("▁" + word for word in WORDS),
        *dict.fromkeys(HAN),
        *"abcdefghijklmnopqrstuvwxyz0123456789",
    ]
    rows = [(piece, 0.0) for piece in special]
    rows += [(piece, -1.0 - 0.01 * rank) for rank, piece in enumerate(dict.fromkeys(pieces))]
    inner = Tokenizer(models.Unigram(rows, unk_id=3))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    inner.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="<pad>", cls_token="<s>", sep_token="</s>", model_max_length=24,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return tokenizer


def siglip_tokenizer(folder: Path) -> Any:
    """A real sentencepiece model, trained here on a few lines: deterministic, a moment."""
    import sentencepiece
    from transformers import SiglipTokenizer

    lines = [" ".join((*WORDS[i:], *WORDS[:i])) for i in range(len(WORDS))] + list(HAN)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(folder / "spiece"), model_type="unigram",
        vocab_size=96, character_coverage=1.0, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        minloglevel=3, num_threads=1,
    )  # fmt: skip
    (folder / "spiece.vocab").unlink()
    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_max_length=16)
    tokenizer.save_pretrained(folder)
    return tokenizer


def siglip2_tokenizer(folder: Path) -> Any:
    """Gemma's form, which SigLIP 2 uses: BPE with byte fall-back, spaces written as `▁`, lower case."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = [*dict.fromkeys("▁abcdefghijklmnopqrstuvwxyz0123456789" + HAN)]
    merges = [("r", "e"), ("re", "d"), ("▁", "m"), ("▁m", "u"), ("▁mu", "g"), ("苹", "果"), ("手", "机")]
    pieces += [*letters, *("".join(pair) for pair in merges)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    inner = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    inner.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
    inner.pre_tokenizer = pre_tokenizers.Split(pattern=" ", behavior="merged_with_previous", invert=False)
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    inner.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", pad_token="<pad>",
        mask_token="<mask>", padding_side="right", model_max_length=64,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return tokenizer


# --- transformers -----------------------------------------------------------------------------------------

_VISION = {
    "hidden_size": 40, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "image_size": SIDE, "patch_size": 8,
}  # fmt: skip
_ENDS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
_TEXT = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def _clip_processor(**over: Any) -> Any:
    from transformers import CLIPImageProcessor

    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    return CLIPImageProcessor(**{**size, **over})


def _saved(folder: Path, model: Any, processor: Any) -> str:
    shake(model).save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
    return f"transformers:{folder}"


def transformers_clip(folder: Path) -> str:
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor

    tokenizer = clip_tokenizer(folder)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPConfig(
        text_config={**_TEXT, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 16},
        vision_config=_VISION,
        projection_dim=24,
    )
    return _saved(folder, CLIPModel(config), CLIPProcessor(_clip_processor(), tokenizer))


def transformers_siglip(folder: Path) -> str:
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    tokenizer = siglip_tokenizer(folder)
    size = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": 16, "projection_size": 40, **_ENDS}
    config = SiglipConfig(text_config={**_TEXT, **size}, vision_config=_VISION)
    pictures = SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    return _saved(folder, SiglipModel(config), SiglipProcessor(pictures, tokenizer))


def transformers_siglip2(folder: Path) -> str:
    """SigLIP 2 with free picture sizes (`naflex`): patches, a mask and a shape go in."""
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model, Siglip2Processor

    tokenizer = siglip2_tokenizer(folder)
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": 40, **_ENDS}
    vision = {key: value for key, value in _VISION.items() if key != "image_size"}
    config = Siglip2Config(text_config={**_TEXT, **size}, vision_config={**vision, "num_patches": 16})
    pictures = Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    return _saved(folder, Siglip2Model(config), Siglip2Processor(pictures, tokenizer))


def transformers_siglip2_fixed(folder: Path) -> str:
    """SigLIP 2 with one picture size: the first SigLIP's architecture, Gemma's tokenizer."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    tokenizer = siglip2_tokenizer(folder)
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": 40, **_ENDS}
    config = SiglipConfig(text_config={**_TEXT, **size}, vision_config=_VISION)
    pictures = SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    return _saved(folder, SiglipModel(config), SiglipProcessor(pictures, tokenizer))


def transformers_chinese_clip(folder: Path) -> str:
    from transformers import (
        ChineseCLIPConfig,
        ChineseCLIPImageProcessor,
        ChineseCLIPModel,
        ChineseCLIPProcessor,
    )

    tokenizer = bert_tokenizer(folder)
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": 24}
    config = ChineseCLIPConfig(text_config={**_TEXT, **size}, vision_config=_VISION, projection_dim=24)
    pictures = ChineseCLIPImageProcessor(size={"height": SIDE, "width": SIDE}, do_center_crop=False)
    return _saved(folder, ChineseCLIPModel(config), ChineseCLIPProcessor(pictures, tokenizer))


def transformers_altclip(folder: Path) -> str:
    from transformers import AltCLIPConfig, AltCLIPModel, AltCLIPProcessor

    tokenizer = xlmr_tokenizer(folder)
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": 32, "project_dim": 36, "pad_token_id": 1}
    ends = {"bos_token_id": 0, "eos_token_id": 2}
    config = AltCLIPConfig(text_config={**_TEXT, **size, **ends}, vision_config=_VISION, projection_dim=24)
    return _saved(folder, AltCLIPModel(config), AltCLIPProcessor(_clip_processor(), tokenizer))


def transformers_dual_encoder(folder: Path) -> str:
    """A multilingual text model beside a picture model, as M-CLIP and its kin are published."""
    from transformers import (
        VisionTextDualEncoderConfig,
        VisionTextDualEncoderModel,
        VisionTextDualEncoderProcessor,
        ViTConfig,
        XLMRobertaConfig,
    )

    tokenizer = xlmr_tokenizer(folder)
    ends = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    text = XLMRobertaConfig(**_TEXT, **ends, vocab_size=len(tokenizer), max_position_embeddings=32)
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        ViTConfig(**_VISION), text, projection_dim=24
    )
    processor = VisionTextDualEncoderProcessor(_clip_processor(), tokenizer)
    return _saved(folder, VisionTextDualEncoderModel(config), processor)


# --- open_clip --------------------------------------------------------------------------------------------

_OPEN_CLIP_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}
_OPEN_CLIP_VISION = {"image_size": SIDE, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8}


def _open_clip_saved(
    folder: Path, config: Mapping[str, Any], preprocess: Mapping[str, Any] | None = None
) -> str:
    """The form that open_clip pushes to a hub: its config and safetensors."""
    import open_clip
    from open_clip.model import CLIP, CustomTextCLIP
    from safetensors.torch import save_file

    assert open_clip.__version__
    parts = {key: value for key, value in config.items() if key != "custom_text"}
    kind = CustomTextCLIP if config.get("custom_text") or "hf_model_name" in config["text_cfg"] else CLIP
    built = json.loads(json.dumps(parts))
    if "hf_model_name" in built["text_cfg"]:  # its folder lies in the model's
        built["text_cfg"]["hf_model_name"] = str(folder / built["text_cfg"]["hf_model_name"])
    model = shake(kind(**built))
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    given = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], **(preprocess or {})}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": given}), encoding="utf-8"
    )
    return f"local:{folder}"


def open_clip_vit(folder: Path) -> str:
    config = {"embed_dim": 24, "vision_cfg": _OPEN_CLIP_VISION, "text_cfg": _OPEN_CLIP_TEXT}
    return _open_clip_saved(folder, config)


def open_clip_quickgelu(folder: Path) -> str:
    config = {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": _OPEN_CLIP_VISION,
        "text_cfg": _OPEN_CLIP_TEXT,
    }
    return _open_clip_saved(
        folder, config, {"interpolation": "bilinear", "resize_mode": "longest", "fill_color": 7}
    )


def open_clip_hf_text(folder: Path) -> str:
    """An XLM-RoBERTa text tower, as in `xlm-roberta-base-ViT-B-32`; its config lies in a folder inside."""
    from transformers import XLMRobertaConfig

    tokenizer = xlmr_tokenizer(folder)
    ends = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    text = XLMRobertaConfig(**_TEXT, **ends, vocab_size=len(tokenizer), max_position_embeddings=32)
    text.save_pretrained(folder / "text")
    named = {
        "hf_model_name": "text",
        "hf_tokenizer_name": "xlm-roberta-tiny",
        "context_length": 16,
    }
    pooled = {"hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler", "hf_model_pretrained": False}
    config = {"embed_dim": 24, "vision_cfg": _OPEN_CLIP_VISION, "text_cfg": {**named, **pooled}}
    return _open_clip_saved(folder, config)


def open_clip_siglip(folder: Path) -> str:
    """A timm picture tower, a text tower without causal mask, a HF tokenizer, squashed pictures."""
    tokenizer = xlmr_tokenizer(folder)
    text = {
        "context_length": 16, "vocab_size": len(tokenizer), "width": 32, "heads": 4, "layers": 2,
        "hf_tokenizer_name": "siglip-tiny", "tokenizer_kwargs": {"clean": "canonicalize"},
        "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
    }  # fmt: skip
    vision = {"image_size": 160, "timm_model_name": "test_vit", "timm_model_pretrained": False,
              "timm_pool": "map", "timm_proj": "none"}  # fmt: skip
    config = {
        "embed_dim": 64, "init_logit_bias": -10, "custom_text": True, "vision_cfg": vision, "text_cfg": text
    }  # fmt: skip
    half = [0.5, 0.5, 0.5]
    return _open_clip_saved(
        folder, config, {"mean": half, "std": half, "interpolation": "bicubic", "resize_mode": "squash"}
    )


FAMILIES: Mapping[str, Callable[[Path], str]] = {
    "open_clip_vit": open_clip_vit,
    "open_clip_quickgelu": open_clip_quickgelu,
    "open_clip_hf_text": open_clip_hf_text,
    "open_clip_siglip": open_clip_siglip,
    "clip": transformers_clip,
    "siglip": transformers_siglip,
    "siglip2": transformers_siglip2,
    "siglip2_fixed": transformers_siglip2_fixed,
    "chinese_clip": transformers_chinese_clip,
    "altclip": transformers_altclip,
    "dual_encoder": transformers_dual_encoder,
}
"""Family -> what writes it and returns its SPEC."""
