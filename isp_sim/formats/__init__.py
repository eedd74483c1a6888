"""Readers and writers of pictures."""
