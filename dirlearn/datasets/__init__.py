"""Data sets: pictures taken to be free of degradation, with labels where there are any."""
