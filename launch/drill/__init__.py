"""A training run that is killed and whose disk fills up, again and again."""
