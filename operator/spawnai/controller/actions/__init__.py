"""Carries out what a plan asks for: one file for each kind of action."""
