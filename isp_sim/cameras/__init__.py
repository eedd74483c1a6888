"""Camera profiles: data with provenance, and what reads them."""
