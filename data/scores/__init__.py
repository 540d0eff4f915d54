"""Scores of images, and what is decided from them: the ledger, selection, splits, near-duplicates, pairs and counts.

Nothing here loads a model or decides what to generate; models/scoring computes scores, data/planning replays choices.
"""
