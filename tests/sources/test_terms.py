"""Terms of use: the strictest of several holds."""

from datagen.sources.terms import strictest_sharing


def test_the_strictest_of_several_terms_holds_for_all():
    assert strictest_sharing(["allowed", "allowed"]) == "allowed"
    assert strictest_sharing(["allowed", "same-licence"]) == "same-licence"
    assert strictest_sharing(["same-licence", None]) == "unstated"
    assert strictest_sharing(["unstated", "forbidden", "allowed"]) == "forbidden"
    assert strictest_sharing(["nobody knows this word"]) == strictest_sharing([]) == "unstated"
