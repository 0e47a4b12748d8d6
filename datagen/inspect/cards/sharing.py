"""The rules on passing clips on, as text."""

from __future__ import annotations

from datagen.inspect.cards.facts import Facts

ALLOWED = "sharing = 'allowed'"

WORDS = {
    "allowed": "may be passed on",
    "same-licence": "may be passed on under the licence of their footage only",
    "unstated": "come without a statement on passing them on: ask their owners first",
    "forbidden": "may not be passed on",
}


def terms(facts: Facts) -> str:
    """One paragraph: the strictest rule, then the data sets under each rule."""
    if not facts.found["clips"]:
        return "There is no clip."
    if tuple(facts.sharing) == ("allowed",):
        return "All clips may be passed on, under the licences of their footage."
    whole = f"As a whole, the clips {WORDS[facts.strictest]}."
    if len(facts.sharing) == 1:
        return f"{whole} That holds for {_list(facts.sharing[facts.strictest])}."
    rules = [f"Clips of {_list(facts.sharing[word])} {WORDS[word]}." for word in reversed(facts.sharing)]
    return " ".join([whole, *rules])


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)
