"""Settings of the commands, each declared once."""
