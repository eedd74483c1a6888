"""Mutual information: estimators, the pairs they compare, divergences, and a bench where the truth is known."""
