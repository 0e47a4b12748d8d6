"""Whether clips may be passed on."""

from __future__ import annotations

import json

from datagen.inspect.cards import write_cards
from datagen.output.paths import Output
from datagen.shards import Dataset
from tests.inspect.cards.made import (
    card,
    write_clips,
)


def test_sharing_states_the_strictest_and_names_the_data_sets(output: Output) -> None:
    write_clips(output, "p00000-u00", [{"dataset": "open-talks", "sharing": "allowed"}] * 2)
    write_cards(output, Dataset(output.root))
    assert "All clips may be passed on" in card(output) and "--where" not in card(output)
    rules = [("kept-talks", "forbidden"), ("alike-talks", "same-licence"), ("quiet-talks", None)]
    write_clips(output, "p00000-u01", [{"dataset": name, "sharing": word} for name, word in rules])
    write_cards(output, Dataset(output.root))
    stated = json.loads((output.root / "croissant.json").read_text())["conditionsOfAccess"]
    assert stated in card(output)
    assert stated.split(". ") == [
        "As a whole, the clips may not be passed on",
        "Clips of kept-talks may not be passed on",
        "Clips of quiet-talks come without a statement on passing them on: ask their owners first",
        "Clips of alike-talks may be passed on under the licence of their footage only",
        "Clips of open-talks may be passed on.",
    ]
    assert "--where \"sharing = 'allowed'\"" in card(output)
    assert len(Dataset(output.root, where="sharing = 'allowed'")) == 2
