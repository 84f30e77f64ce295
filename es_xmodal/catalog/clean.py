"""Text as it may be stored, sent and printed: no control characters, nothing that cannot be encoded."""

from __future__ import annotations

import re

_SUSPECT = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_TERMINAL_SEQUENCE = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]")
_LINE_END = re.compile("\r\n?|[\u2028\u2029]")
_BLANK = re.compile("[\t\x0b\x0c]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Controls, the soft hyphen, marks of direction, invisible separators, annotation and tag characters.
# U+200C and U+200D are not here: they join letters in Arabic and Indic scripts and pictures in emoji.
_REMOVED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_JOINABLE = "\u0600-\u109f\u1700-\u18af\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
_STRAY_JOINER = re.compile(f"(?<![{_JOINABLE}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINABLE}])")
_BLANKS = re.compile("[ \n]+")


def clean_text(s: str) -> str:
    """Remove what must not reach an index, a terminal or a web page.

    Control characters (U+0000 to U+001F, U+007F to U+009F) go, and whole terminal colour sequences with
    them; tabs become blanks and every kind of line end becomes a line feed. Marks of direction and zero-width
    characters go too, except joiners inside emoji and inside scripts that need them. A lone surrogate, which
    no encoding can carry, becomes U+FFFD. Letters, width and accents stay as they are.

    Args:
        s: any string, also one with lone surrogates.

    Returns:
        A string that can be encoded; cleaning it again changes nothing.
    """
    if s.isprintable() or _SUSPECT.search(s) is None:  # nothing suspect is printable
        return s
    s = _TERMINAL_SEQUENCE.sub("", s)
    s = _BLANK.sub(" ", _LINE_END.sub("\n", s))
    s = _REMOVED.sub("", _SURROGATE.sub("\ufffd", s))
    return _STRAY_JOINER.sub("", s)


def clean_line(s: str) -> str:
    """Clean a text that has one line, such as a title: blanks and line ends become single blanks.

    Args:
        s: any string.

    Returns:
        The cleaned string without blanks at its ends; full-width and no-break blanks inside stay.
    """
    if s.isprintable() and "  " not in s:
        return s.strip()
    return _BLANKS.sub(" ", clean_text(s)).strip()


def clean_block(s: str) -> str:
    """Clean a text that may have several lines, such as a description.

    Args:
        s: any string.

    Returns:
        The cleaned string without blanks at its ends; its line feeds stay.
    """
    return clean_text(s).strip()
