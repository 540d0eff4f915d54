"""Recipe sections for judging: scorers, selection, splits, duplicates and preference pairs."""
