"""How ranks share a batch."""

from __future__ import annotations

import pytest

from tests.trainer.train.runs import MakeJob


@pytest.mark.parametrize(
    ("batch", "micro_batch", "ranks", "micro", "accumulated"),
    [(64, 16, 1, 16, 4), (64, 16, 8, 8, 1), (12, 5, 1, 4, 3), (12, 5, 2, 3, 2), (6, 6, 6, 1, 1)],
)
def test_workers_share_the_batch_in_micro_batches_that_fit(
    job: MakeJob, batch: int, micro_batch: int, ranks: int, micro: int, accumulated: int
) -> None:
    config = job("tiny-image", f"batch={batch}", f"micro_batch={micro_batch}").config
    shared = config.shared(ranks)
    assert (shared.micro_batch, shared.accumulate(ranks), config.accumulate(ranks)) == (
        micro,
        accumulated,
        accumulated,
    )


def test_a_batch_that_cannot_be_shared_is_refused(job: MakeJob) -> None:
    with pytest.raises(ValueError, match="give a multiple of 2, such as --set batch=4"):
        job("tiny-image", "batch=3").config.shared(2)
    with pytest.raises(ValueError, match="batch=8"):
        job("tiny-image", "batch=2").config.shared(8)
