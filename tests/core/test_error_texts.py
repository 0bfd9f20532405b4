"""Every code of the registry is explained, in words of its own."""

from core.error_texts import read_texts
from core.errors import CODES

WORDS_MIN = 6
"""Fewer words say nothing that the title does not."""


def test_every_code_has_words_and_no_words_are_left_over() -> None:
    assert set(read_texts()) == set(CODES)


def test_no_two_codes_say_the_same() -> None:
    texts = read_texts()
    for field in ("means", "when", "do"):
        said = {code: getattr(text, field) for code, text in texts.items()}
        assert len(set(said.values())) == len(said), field
        assert [code for code, words in said.items() if len(words.split()) < WORDS_MIN] == []
        assert [code for code, words in said.items() if not words.endswith(".")] == []
        assert [code for code, words in said.items() if words.removesuffix(".") == CODES[code]] == []
