"""A study: variants of a page, trained alike, in one table."""
