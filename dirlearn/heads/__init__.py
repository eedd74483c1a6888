"""Heads: the networks of tasks, from pictures to a loss or to predictions."""
