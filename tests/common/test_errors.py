"""The reasons of failures."""

from datagen.common.errors import PERMANENT, REASONS


def test_permanent_reasons_are_failure_reasons():
    assert set(REASONS) > PERMANENT
    assert not PERMANENT & {
        "unreadable",
        "changed",
        "crashed",
        "timeout",
        "out_of_memory",
        "internal",
        "too_large",
    }
