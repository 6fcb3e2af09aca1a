"""Tables of positions."""

import jax.numpy as jnp
import numpy as np

from lowdiff_jax.models import position


def test_positions_are_as_published():
  """Columns first when added, rows first when turned."""
  side, features, token = 4, 8, 4 * 1 + 3
  table = position.sincos_table(np.arange(side), features)
  angles = [3, 3 / 100, 1, 1 / 100]
  sines, cosines = np.sin(angles), np.cos(angles)
  expected = [*sines[:2], *cosines[:2], *sines[2:], *cosines[2:]]
  np.testing.assert_allclose(table[token], expected, atol=1e-6)
  cos, sin = position.rotary_table(np.arange(side), features)
  np.testing.assert_allclose(
    np.arctan2(sin, cos)[token, 0], [1, 1 / 100, 3, 3 / 100], atol=1e-6
  )


def test_attention_sees_differences_of_positions():
  """A product of turned vectors is that of any two tokens so far apart."""
  rng = np.random.default_rng(0)
  query, key = (
    jnp.broadcast_to(rng.standard_normal(8), (1, 16, 1, 8)) for _ in range(2)
  )
  table = position.rotary_table(np.arange(4), 8)
  turned = [position.rotate(x, *table)[0, :, 0] for x in (query, key)]
  products = (turned[0] @ turned[1].T).reshape(4, 4, 4, 4)
  np.testing.assert_allclose(
    products[:3, :3, :3, :3], products[1:, 1:, 1:, 1:], atol=1e-4
  )
  assert jnp.std(products) > 0.1
