"""Haze for isp_sim."""
