"""Directions by joint diagonalisation: measure matrices once, then find the rotation that diagonalises them."""
