"""Mode export: a trained model as a folder of safetensors and JSON."""

from ml_collections import ConfigDict

from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import model_folder
from lowdiff_jax.experiment.named_models import load_for


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Writes the EMA weights, the config and a model card to workdir/model."""
  model = load_for(config, workdir)
  folder = workdir / "model"
  if is_main():
    model_folder.write(model, folder)
    print(f"step {model.step} in {folder}, for lowdiff_jax.load")
