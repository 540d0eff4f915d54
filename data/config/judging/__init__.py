"""The recipe's sections about judging: scorers, selection, splits, duplicates and pairs."""
