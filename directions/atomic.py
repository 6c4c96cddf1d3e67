"""Moved to `directions.files`."""

from directions.files import atomic_folder, atomic_write, require_writable, write_bytes, write_text  # shim

__all__ = ["atomic_folder", "atomic_write", "require_writable", "write_bytes", "write_text"]
