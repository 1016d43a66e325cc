"""Named models, one YAML file each: a checkpoint, its dialect, its adapter and its settings."""
