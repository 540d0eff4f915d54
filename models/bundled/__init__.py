"""The small model that ships with the project: its architecture, its world of shapes, and the script that trained it."""
