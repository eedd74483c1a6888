"""Encoders: from a picture to a Gaussian over representations."""
