"""What a list leaves out: conditions that a caller may give or not."""

from typing import Any


class Filter:
    """Conditions of a list, as SQL with numbered arguments. Names are ours, values are arguments."""

    def __init__(self, *arguments: object) -> None:
        self.arguments: list[Any] = list(arguments)
        self.conditions: list[str] = []

    def add(self, condition: str, value: object) -> None:
        """Add `condition`, whose `?` stands for `value`; None adds nothing."""
        if value is not None:
            self.arguments.append(value)
            self.conditions.append(condition.replace("?", f"${len(self.arguments)}"))

    @property
    def sql(self) -> str:
        """The conditions, each with its `and`."""
        return "".join(f" and {condition}" for condition in self.conditions)
