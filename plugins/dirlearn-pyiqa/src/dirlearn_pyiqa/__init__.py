"""Perceptual measures of pictures for dirlearn, through pyiqa."""
