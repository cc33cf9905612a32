"""Does operations on datasets: each part is written down, done, read back, and recorded."""
