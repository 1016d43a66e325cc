"""What has nothing to do with boxes or models, and could serve any program."""
