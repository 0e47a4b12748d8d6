"""Classic filters."""

import numpy as np
import pytest

from datagen.common.errors import UserError
from datagen.synthesise.stylise.filters import FILTERS, ClassicFilter
from datagen.synthesise.stylise.style import Style


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_every_filter_changes_the_look_and_keeps_the_expression(name, clip, analyser):
    styled = ClassicFilter()(clip.frames[:3], clip.faces, Style(name, None, "filter"))
    assert styled.shape == clip.frames[:3].shape
    assert styled.dtype == np.uint8
    assert np.abs(styled.astype(int) - clip.frames[:3]).mean() > 5
    found = analyser.track(styled)
    assert (found.presence > 0.5).all()
    distance = np.linalg.norm(found.landmarks - clip.faces.landmarks[:3], axis=-1).mean()
    assert distance < 0.06 * np.ptp(clip.faces.landmarks[0, :, 0])


def test_an_unknown_filter_names_the_known_ones(clip):
    with pytest.raises(UserError, match="cartoon"):
        ClassicFilter()(clip.frames, clip.faces, Style("nope", None, "filter"))
