"""From submitted jobs to published outputs."""
