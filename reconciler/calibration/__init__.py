"""Calibration in the loop: what is handed over to it, what comes back, and whether the global tag then holds just that."""
