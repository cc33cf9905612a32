"""The static site: pages that people look at, and the same data for software."""
