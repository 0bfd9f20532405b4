"""The net of the canaries: what was planted, what was answered, and what gave something away."""

import secrets
from dataclasses import dataclass, field

import httpx2


def canary(name: str) -> str:
    """A secret that is found nowhere by chance, good for a password, and the same in an address as in a body."""
    return f"canary-{name.replace(' ', '-')}-{secrets.token_hex(12)}"


@dataclass
class Net:
    """What was planted, what was answered, and what each secret that is shown once is shown by."""

    planted: dict[str, str] = field(default_factory=dict)
    shown_by: dict[str, int] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    tried: set[tuple[str, str]] = field(default_factory=set)

    def plant(self, name: str) -> str:
        """Make a secret, and look for it from now on."""
        return self.planted.setdefault(name, canary(name))

    def keep(self, answer: httpx2.Response) -> httpx2.Response:
        """Take an answer with its headers into the net."""
        self.answers.append(f"{answer.status_code} {answer.headers.multi_items()} {answer.text}")
        return answer

    def shown(self, name: str, text: str) -> str:
        """A secret that the last answer has shown, as it must, this once."""
        self.planted[name], self.shown_by[name] = text, len(self.answers) - 1
        return text

    def leaks(self, where: str, text: str) -> list[str]:
        """The secrets that stand in a text."""
        return [f"{name} in {where}" for name, secret in self.planted.items() if secret in text]

    def answered(self) -> list[str]:
        """The answers that tell a secret which is not theirs."""
        return [
            leak
            for place, answer in enumerate(self.answers)
            for leak in self.leaks(f"answer {place} {answer[:60]}", answer)
            if self.shown_by.get(leak.partition(" in answer")[0]) != place
        ]
