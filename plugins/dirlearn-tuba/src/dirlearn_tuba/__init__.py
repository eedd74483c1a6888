"""Estimators of mutual information for dirlearn."""
