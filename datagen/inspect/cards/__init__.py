"""Cards of a data set: `croissant.json` for programs, `README.md` for people and the Hugging Face hub."""

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
    """Write `croissant.json` and `README.md` into the output; earlier ones are replaced.

    Call it at the end of a run and whenever clips are removed: after a withdrawal and after a purge. Both files
    describe only the clips of `dataset`. A `README.md` from another author is renamed to `README.own.md`.

    Args:
        out: the output.
        dataset: the whole output, opened after the last change; withdrawn clips are not in it.
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
    """Remove the card of earlier versions, which is not updated and would still count withdrawn clips."""
    old = out.root / OLD_CARD
    if old.is_file() and OLD_WORDS.encode() in old.read_bytes():
        old.unlink()
