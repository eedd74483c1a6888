"""Degradation-independent representations, learnt from views that isp_sim renders [Guo2024]."""
