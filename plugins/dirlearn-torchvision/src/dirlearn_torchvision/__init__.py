"""Heads for dirlearn on the networks of torchvision."""
