"""Rendering: one picture from Python, or a folder from the command line."""
