"""Donors: portraits, their checks, and the donor pool of a wave."""
