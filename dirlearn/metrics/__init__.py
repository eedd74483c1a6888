"""Metrics of tasks, counted picture by picture."""
