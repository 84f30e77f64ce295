"""Keys of the stores: 32 bytes of hash that remember who made what they stand for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

KEY_BYTES: Final = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Who made an entry, and of what."""

    fingerprint: str
    """Of the encoder, or of what read the words on a picture; empty for what needs neither."""
    kind: str
    """`picture`, `text` or `words`."""


class Key(bytes):
    """A key; equal to the bytes that it is. The store writes its owner beside the entry."""

    owner: Owner

    @classmethod
    def of(cls, parts: Sequence[str], owner: Owner) -> Key:
        """Hash the parts of a key.

        Args:
            parts: what tells this entry from all others.
            owner: who made it.

        Returns:
            32 bytes.
        """
        text = json.dumps(parts)  # unambiguous, and ASCII even for lone surrogates
        key = cls(hashlib.sha256(text.encode("ascii")).digest())
        key.owner = owner
        return key
