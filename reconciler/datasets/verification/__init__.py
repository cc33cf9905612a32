"""Reading published files again: size, checksum, events, metadata."""
