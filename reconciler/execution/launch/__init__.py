"""From a plan to submitted jobs: admission, preparation and submission."""
