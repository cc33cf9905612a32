"""The demo: a campaign from its manifest to retention rates, on a toy sample, in a scratch clone."""
