"""A page of the blob's directions."""

from __future__ import annotations

import pytest
from explorer_page import make_page
from fakes import BlobGenerator, blob_directions


@pytest.fixture
def page(tmp_path):
    """A page of a new file of six directions."""
    generator = BlobGenerator()
    blob_directions(generator).save(tmp_path / "blob.safetensors")
    made = make_page(generator, tmp_path / "blob.safetensors")
    with made.client:
        yield made
