"""Decoders: from a representation back to a picture, without ways around the representation."""
