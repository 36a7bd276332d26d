"""Spare droplets: kept for whoever comes, and handed to sessions."""
