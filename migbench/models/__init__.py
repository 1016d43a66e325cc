"""From what the user names to a model that runs."""
