"""The study over NVFlare: every stage runs at the site that has its data."""
