"""What kept comparisons say: their verdicts, and which outputs are validated by them."""
