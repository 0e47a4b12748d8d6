"""What a data set says of itself: `croissant.json` for machines, `README.md` for people and the Hugging Face hub."""

from __future__ import annotations

import json

from datagen.inspect.cards.croissant import croissant
from datagen.inspect.cards.facts import gather
from datagen.inspect.cards.readme import MARK, readme
from datagen.output.paths import Output
from datagen.output.publish import replace
from datagen.shards.reader import Dataset

OLD_CARD, OLD_WORDS = "DATASET.md", "made by megactor-datagen"


def write_cards(out: Output, dataset: Dataset) -> None:
    """Write `croissant.json` and `README.md` into the output, in place of those it had.

    Call it at the end of a run and whenever clips go: after footage was withdrawn, and after a purge. Both name
    and count the clips of `dataset` alone. A `README.md` that somebody else wrote is kept as `README.own.md`.

    Args:
        dataset: the output as a whole, opened after the last change; withdrawn clips are not in it.
    """
    facts = gather(out, dataset)
    described = json.dumps(croissant(facts), indent=1, ensure_ascii=False)
    replace(f"{described}\n".encode(), out.root / "croissant.json", out.tmp)
    card = out.root / "README.md"
    if card.is_file() and MARK.encode() not in card.read_bytes():
        card.rename(out.root / "README.own.md")
    replace(readme(facts).encode(), card, out.tmp)
    _remove_old_card(out)


def _remove_old_card(out: Output) -> None:
    """Remove the card of earlier versions: nobody writes it again, so it would go on counting withdrawn clips."""
    old = out.root / OLD_CARD
    if old.is_file() and OLD_WORDS.encode() in old.read_bytes():
        old.unlink()
