"""Mutual information: estimators, critics, divergences."""
