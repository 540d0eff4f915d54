"""The small model that ships with the project: its architecture, its world of shapes, the script that trained it."""
