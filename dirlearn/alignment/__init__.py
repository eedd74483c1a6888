"""Alignment: from a representation of a degraded picture towards that of the picture without degradation."""
