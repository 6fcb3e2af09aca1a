"""Files of LightningDiT's weights; their parity is in test_pretrained.py."""

import json

import jax
import numpy as np
import pytest

from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.diffusion import precondition
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.models import dit, position, unified
from lowdiff_jax.models.weights import lightningdit_layout, state_dict
from lowdiff_jax.parity import verify
from lowdiff_jax.types import Condition, ImageSpec, UserError
from tests import tiny
from tests.models.weights.test_edm_layout import LIGHTNINGDIT, rewrite

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
  assert lightningdit_layout.dit_params(drifted, 4) == {}
  for wrong in (state["pos_embed"][:, ::-1], state["pos_embed"] + 0.1):
    with pytest.raises(UserError, match="pos_embed"):
      lightningdit_layout.dit_params({"pos_embed": wrong}, 4)
  with pytest.raises(UserError, match="8x8 tokens"):
    lightningdit_layout.dit_params(state, 8)


def test_a_cascade_starts_from_published_weights(tmp_path):
  """At the top resolution it is the published denoiser, condition or not."""
  table = position.sincos_table(np.arange(8), 64)[None]
  file = rewrite(
    tmp_path / "a.npz", LIGHTNINGDIT, **{"params/pos_embed": table}
  )
  fields = {
    "model.init_from": str(file),
    "model.hidden_size": 64,
    "model.num_heads": 4,
    "model.dtype": "float32",
  }
  info = LatentInfo(np.zeros(8), np.ones(8), (8,), {}, "")

  def make(**more):
    config = tiny.config("smoke", "imagenet256", (4, 8), **fields, **more)
    return build_experiment(config, ImageSpec(8, 8, 10), info)

  experiment = make()
  golden = np.load(LIGHTNINGDIT)
  x = golden["in/x"].transpose(0, 2, 3, 1)
  sigma = np.array([0.1, 1.0, 30.0], np.float32)
  cond = Condition(
    label=golden["in/y"],
    low_res=np.ones((3, 4, 4, 8), np.float32),
    low_res_sigma=np.full(3, 0.1, np.float32),
  )
  ours = experiment.bind(experiment.init().params)(x, sigma, cond)
  backbone = dit.LightningDiT(8, 64, 2, 4, 8, num_classes=10)
  published = unified.UnifiedDenoiser(
    backbone, (8,), lambda s, _: precondition.flow(s)
  )
  loaded = lightningdit_layout.dit_params(state_dict.read_state(file), 8)
  theirs = unified.bind(published, {"backbone": loaded})(x, sigma, cond)
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  assert jax.numpy.abs(theirs - x).max() > 0.1
  with pytest.raises(UserError, match="lacks the parameter blocks/attn/k_norm"):
    make(**{"model.qk_norm": True}).init()
