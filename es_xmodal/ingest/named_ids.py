"""Which ids a catalogue has named so far."""

from __future__ import annotations

from es_xmodal.catalog.seen import SeenTexts
from es_xmodal.ingest.known_documents import KnownDocuments


class NamedIds:
    """A set of ids; those that a walked index has cost a bit each, all others what `SeenTexts` takes.

    Attributes:
        holds: what the index that is written holds; None: nothing, or nothing is known of it.
    """

    def __init__(self) -> None:
        self.holds: KnownDocuments | None = None
        self._others = SeenTexts()

    def add(self, text: str) -> bool:
        """Remember an id.

        Args:
            text: the id.

        Returns:
            True if it is new, False if it was there.
        """
        first = self.holds.name(text) if self.holds else None
        if first is None:
            return self._others.add(text)
        return first and text not in self._others  # it may have come before the index was walked
