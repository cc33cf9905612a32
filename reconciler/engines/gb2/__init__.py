"""Productions of the grid by gBasf2's production system."""
