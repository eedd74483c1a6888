"""Restoration networks for comparison: from a degraded picture straight to a clean one."""
