"""Metrics of tasks, counted picture by picture, and measures of the pictures themselves."""
