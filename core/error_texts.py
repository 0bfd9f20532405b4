"""What each code of `core.errors.CODES` means to who gets it: the words of its page, in error_texts.toml beside this file.

Read when the first page is asked for. A test holds the file to the registry: every code, and no other.
"""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

FILE = Path(__file__).with_suffix(".toml")
Retry = Literal["no", "same", "later"]


@dataclass(frozen=True, slots=True)
class ErrorText:
    """`means`, `when` and `do` are sentences, with code in backticks.

    `retry`: `no`, the same request gets the same answer; `same`, send it again as it is; `later`, once the reason is gone.
    """

    means: str
    when: str
    do: str
    retry: Retry

    def __post_init__(self) -> None:
        if self.retry not in get_args(Retry):
            raise ValueError(f"{self.retry} says nothing about a retry")


@lru_cache(maxsize=1)
def read_texts() -> dict[str, ErrorText]:
    """Read the texts of all codes, by code."""
    return {code: ErrorText(**entry) for code, entry in tomllib.loads(FILE.read_text("utf-8")).items()}
