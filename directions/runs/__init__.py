"""Runs on disk: their folder, the machine they ran on, the signals that stop them, and how a discovery is recorded.

After the loops, which write nothing themselves; before the command line, which starts and resumes runs.
"""
