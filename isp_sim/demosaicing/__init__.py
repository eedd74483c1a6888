"""Demosaicing algorithms, one file each, named after author and year."""
