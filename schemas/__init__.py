"""What may be said: JSON Schemas, and the readers that turn files into checked, frozen values."""
