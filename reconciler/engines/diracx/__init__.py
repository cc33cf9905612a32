"""Jobs of the grid by DiracX."""
