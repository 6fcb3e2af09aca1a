"""Files of LightningDiT's weights; their parity is in test_pretrained.py."""

import json

import numpy as np
import pytest

from lowdiff_jax.evaluate import verify
from lowdiff_jax.interfaces import UserError
from lowdiff_jax.models import position, pretrained_dit
from tests.models.test_pretrained import LIGHTNINGDIT, rewrite

CONFIG = json.loads(str(np.load(LIGHTNINGDIT)["config"]))
QKV = "params/blocks.1.attn.qkv.weight"


def test_a_wrong_weight_shows(tmp_path, capsys):
  samples = ("euler", "euler_cfg", "euler_cfg_first3")
  path = rewrite(
    tmp_path / "a.npz",
    LIGHTNINGDIT,
    **{QKV: np.load(LIGHTNINGDIT)[QKV] * 1.01},
    **{f"out/{name}": None for name in samples},
  )
  assert verify.run(["verify", str(path)]) == 1
  assert "OFF" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({QKV: None}, "the file lacks the parameter blocks.1.attn.qkv.weight"),
    ({QKV: np.zeros((192, 63))}, "blocks.1.attn.qkv.weight is"),
    ({"params/pos_embed": None}, "the file lacks the parameter pos_embed"),
    ({"config": json.dumps({**CONFIG, "depth": 3})}, "in this network"),
    ({"config": json.dumps({**CONFIG, "input_size": 16})}, "16x16 tokens"),
    ({"config": json.dumps({**CONFIG, "use_rope": False})}, "with use_rope"),
  ],
)
def test_wrong_files_are_named(changes, said, tmp_path, capsys):
  path = rewrite(tmp_path / "a.npz", LIGHTNINGDIT, **changes)
  assert verify.run(["verify", str(path)]) == 2
  error = capsys.readouterr().err
  assert said in error and error.count("\n") == 1


def test_positions_of_a_file_are_compared():
  state = {"pos_embed": position.sincos_table(np.arange(4), 8)[None]}
  # A moving average has drifted a little.
  drifted = {"pos_embed": state["pos_embed"] + 5e-4}
  assert pretrained_dit.dit_params(drifted, 4) == {}
  for wrong in (state["pos_embed"][:, ::-1], state["pos_embed"] + 0.1):
    with pytest.raises(UserError, match="pos_embed"):
      pretrained_dit.dit_params({"pos_embed": wrong}, 4)
  with pytest.raises(UserError, match="8x8 tokens"):
    pretrained_dit.dit_params(state, 8)
