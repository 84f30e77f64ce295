"""How text is normalised and tokenised before it is sent, so that the cluster needs no Chinese analyzer."""

from __future__ import annotations

from es_xmodal.text.analyzer import Analyzer
from es_xmodal.text.normalise import Normalised, normalise
from es_xmodal.text.options import SEPARATOR, TextOptions, Token

__all__ = ["SEPARATOR", "Analyzer", "Normalised", "TextOptions", "Token", "normalise"]
