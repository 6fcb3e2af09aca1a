"""From a config to the parts of an experiment: fields, checks, builders."""
