"""Encoders for dirlearn on the networks of timm."""
