"""An undamaged data set of one clip."""

from __future__ import annotations

import pytest

from datagen.output.paths import Output
from tests.inspect.made import make_clip, publish_clip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Output:
    output = Output(tmp_path_factory.mktemp("sound") / "out")
    output.create()
    publish_clip(output, make_clip(output.tmp))
    output.clear_stale_tmp()
    return output
