"""Lens degradations for isp_sim."""
