"""Conversation records in the format of MGrounding-630k: parsed, and checked."""
