"""Answers of language models: pinned before they are used, and never requested twice."""
