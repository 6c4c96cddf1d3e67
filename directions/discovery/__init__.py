"""Discovery: one flat loop that yields snapshots and writes nothing itself.

After the penalty and the joint start, whose parts it puts together; before the run folder, which records it.
"""
