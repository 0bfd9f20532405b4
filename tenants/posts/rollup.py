"""The delivery of a post, derived from its publications and never stored."""


def rollup(states: list[str]) -> str | None:
    """Derive a post's delivery from its publications: never stored."""
    live = [state for state in states if state not in {"planned", "cancelled"}]
    if not live:
        return "cancelled" if states and all(state == "cancelled" for state in states) else None
    kinds = {_KIND[state] for state in live}
    for kind in ("needs_attention", "publishing", "scheduled"):
        if kind in kinds and (kind != "scheduled" or "published" not in kinds):
            return kind
    if kinds == {"published"}:
        return "published"
    if "published" in kinds:
        return "partially_published"
    return "removed" if kinds == {"removed"} else "failed"


_KIND = {
    "scheduled": "scheduled",
    "retry_wait": "scheduled",
    "claimed": "publishing",
    "preparing": "publishing",
    "publishing": "publishing",
    "unpublishing": "publishing",
    "outcome_unknown": "publishing",
    "needs_human": "needs_attention",
    "blocked": "needs_attention",
    "missed": "needs_attention",
    "failed": "failed",
    "published": "published",
    "removed": "removed",
}
