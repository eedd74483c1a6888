"""Stages of a camera's processing, one file each family. Each is registered in the project's metadata."""
