"""Histograms with the application `uproot`: reads a job, fills a histogram for each quantity, and writes them."""
