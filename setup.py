"""Puts the pages of configs/ into the package; pyproject.toml has the rest."""

from setuptools import find_packages, setup

setup(
  packages=[*find_packages(include=["lowdiff_jax*"]), "lowdiff_jax.configs"],
  package_dir={"lowdiff_jax.configs": "configs"},
)
