"""The DrivenEncoder."""

import pytest
import torch

from trainer.model.driven_encoder import DrivenEncoder


@torch.no_grad()
def test_the_modulation_branch_pools_or_insists_on_its_size() -> None:
    torch.manual_seed(0)
    free, locked = DrivenEncoder(4, None), DrivenEncoder(4, 512)
    for parameter in free.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    locked.load_state_dict(free.state_dict())
    reference = torch.rand(1, 3, 512, 512)
    torch.testing.assert_close(free.modulation(reference), locked.modulation(reference))
    assert free.modulation(torch.rand(1, 3, 200, 300)).shape == (1, 256)
    with pytest.raises(ValueError, match=r"\(512, 512\)"):
        locked.modulation(torch.rand(1, 3, 256, 256))
