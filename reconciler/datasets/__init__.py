"""Published outputs: their places, the catalogues that know them, and their verification."""
