"""What was published: where it lies, catalogues that know it, and its verification."""
