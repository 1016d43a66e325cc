"""Runs the model classes of lmms-eval."""
