"""File names from outside, made harmless. They are shown and offered for downloads; storage never sees them."""

import re
import unicodedata
from pathlib import PurePosixPath

NAME_LENGTH_MAX = 120
"""Characters. With four bytes each that stays under the 255 bytes that file systems take, with room for a suffix."""
SUFFIX_LENGTH_MAX = 16
SUFFIXES = {
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/png": (".png",),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
}
"""Suffixes that agree with a type; the first is put behind a name that has none of them."""
DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?")
"""Names that Windows takes for devices, whatever follows the first dot (learn.microsoft.com, "Naming Files", 2026-11)."""
FORBIDDEN = frozenset('<>:"/\\|?*')
INVISIBLE = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"))
"""Categories that nobody sees: control characters, direction overrides, line ends, surrogates, unassigned."""


def clean_name(name: str, content_type: str) -> str:
    """Make a name that any system can store and no eye misreads, with the suffix of its true type."""
    base = re.split(r"[/\\]", name)[-1]
    shown = "".join(
        "_" if character in FORBIDDEN else character
        for character in unicodedata.normalize("NFC", base)
        if unicodedata.category(character) not in INVISIBLE
    )
    shown = re.sub(r"\s+", " ", shown).strip(" .")
    right = SUFFIXES[content_type]
    suffix = PurePosixPath(shown).suffix
    stem = shown.removesuffix(suffix) if suffix.lower() in right else shown
    suffix = suffix if suffix.lower() in right else right[0]
    stem = stem[: NAME_LENGTH_MAX - SUFFIX_LENGTH_MAX].strip(" .") or "file"
    return f"_{stem}{suffix}" if DEVICES.fullmatch(stem) else stem + suffix
