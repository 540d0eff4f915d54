"""A website whose images rows name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imagemill.data.prompts import image_download
from tests.data.web_site import Site


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A website of red.png and blue.png; a failed download is repeated at once."""
    monkeypatch.setattr(image_download, "RETRY_DELAY_S", 0.0)
    with Site() as site:
        yield site
