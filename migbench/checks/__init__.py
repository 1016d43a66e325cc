"""Checks of models and of stored runs."""
