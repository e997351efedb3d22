"""The report of a study: pages, figures, words."""
