"""What differs between two campaigns."""
